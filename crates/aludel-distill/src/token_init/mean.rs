//! Vocabulary rows of added tokens as means of the rows of related words, from the student's weights alone: the initial values of a new
//! adapter. The parent module refines them from the data.

use aludel_model::adapter::NewRows;
use aludel_model::layout::Role;
use aludel_model::student::Student;

use crate::error::Result;

/// Rows for added tokens that are the means of related words' rows. A token that the vocabulary had before keeps its own row.
///
/// # Errors
/// Weights that cannot be read.
pub fn by_meaning(student: &Student, added: &[u32]) -> Result<NewRows> {
    let tokenizer = &student.text.tokenizer;
    let mut sources = Vec::with_capacity(added.len());
    for &id in added {
        let token = tokenizer.id_to_token(id).unwrap_or_default();
        sources.push(if tokenizer.is_new(id) { tokenizer.mean_source_ids(&token)? } else { vec![id] });
    }
    let rows = |table: Role| -> Result<Vec<f32>> {
        let rows: Result<Vec<_>> = sources.iter().map(|sources| mean_row(student, table, sources)).collect();
        Ok(rows?.concat())
    };
    let head = if student.config.tie_word_embeddings { None } else { Some(rows(Role::Head)?) };
    Ok(NewRows { ids: added.to_vec(), embedding: rows(Role::Embedding)?, head })
}

fn mean_row(student: &Student, table: Role, sources: &[u32]) -> Result<Vec<f32>> {
    let hidden_size = student.config.hidden_size;
    let tensor = student.weights.tensor(table)?;
    let mut mean = vec![0f32; hidden_size];
    let mut row = vec![0f32; hidden_size];
    for &source in sources {
        tensor.row(source as usize, &mut row)?;
        mean.iter_mut().zip(&row).for_each(|(mean, x)| *mean += x / sources.len() as f32);
    }
    Ok(mean)
}
