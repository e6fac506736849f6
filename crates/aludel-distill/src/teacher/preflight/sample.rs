//! A few records of the data as rows of both models: the student's, which are trained on, and those that the same settings make for
//! the teacher. Only what training would take is a row here; what is wrong with data is told when it is tokenised.

use aludel_data::dataset;
use aludel_model::student::Student;
use aludel_text::Encoded;

use crate::prepare::{Prepared, Preparer, RowStatus};
use crate::settings::Recipe;

/// Enough records to meet every form that rows of a file have, and few enough to cost no second.
const MOST_RECORDS: usize = 64;
/// As many are looked at for each that is taken, where training would leave some out.
const LOOKED_AT: usize = 16;
/// Records are taken until their texts have so many bytes.
const MOST_BYTES: usize = 512 * 1024;

/// What the teacher's tokenizer and template make of a record.
pub(super) enum TeacherRows {
    /// Its rows.
    Rows(Vec<Encoded>),
    /// The teacher has no chat template.
    NoTemplate,
    /// Why its template refuses the record.
    Refused(String),
}

/// A record, as rows of both.
pub(super) struct SampleRecord {
    /// Whether it is a text without messages, which no template renders.
    pub(super) is_text: bool,
    pub(super) student: Vec<Encoded>,
    pub(super) teacher: TeacherRows,
}

/// Some records of the data.
#[derive(Default)]
pub(super) struct Sample {
    pub(super) records: Vec<SampleRecord>,
}

impl Sample {
    /// The ids of the student's rows.
    pub(super) fn ids(&self) -> impl Iterator<Item = &[u32]> {
        self.rows().map(|row| row.ids.as_slice())
    }

    /// The student's rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Encoded> {
        self.records.iter().flat_map(|record| &record.student)
    }

    /// The rows of both, where the teacher makes as many of a record.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&SampleRecord, &Encoded, &Encoded)> {
        self.records.iter().flat_map(|record| {
            let teacher = match &record.teacher {
                TeacherRows::Rows(rows) if rows.len() == record.student.len() => rows.as_slice(),
                _ => &[],
            };
            record.student.iter().zip(teacher).map(move |(own, theirs)| (record, own, theirs))
        })
    }
}

/// The first records of each file; none of files that cannot be read.
pub(super) fn read(student: &Student, teacher: &Student, recipe: &Recipe) -> Sample {
    let (own, theirs) = (Preparer::new(student, recipe), Preparer::new(teacher, recipe));
    let files = &recipe.data.files;
    let per_file = (MOST_RECORDS / files.len().max(1)).max(1);
    let (mut sample, mut bytes) = (Sample::default(), 0);
    for file in files {
        let Ok(records) = dataset::open(std::slice::from_ref(file), &recipe.row_options()) else { continue };
        let before = sample.records.len();
        for record in records.take(LOOKED_AT * per_file).flatten() {
            if sample.records.len() == MOST_RECORDS || bytes > MOST_BYTES {
                return sample;
            }
            if sample.records.len() == before + per_file {
                break;
            }
            let Ok(rows) = own.prepare(&record) else { continue };
            let rows: Vec<Encoded> =
                rows.into_iter().filter(|row| row.fate.is_trained()).filter_map(|row| row.encoded).collect();
            if rows.is_empty() {
                continue;
            }
            bytes += rows.iter().map(|row| row.text.len()).sum::<usize>();
            let is_text = matches!(record.content, dataset::Content::Text(_));
            let teacher = match theirs.prepare(&record) {
                Ok(rows) => teacher_rows(rows),
                Err(_) => TeacherRows::NoTemplate,
            };
            sample.records.push(SampleRecord { is_text, student: rows, teacher });
        }
    }
    sample
}

fn teacher_rows(rows: Vec<Prepared>) -> TeacherRows {
    let refused = rows.iter().find_map(|row| match &row.fate {
        RowStatus::Refused(reason) if row.encoded.is_none() => Some(reason.clone()),
        _ => None,
    });
    match refused {
        Some(reason) => TeacherRows::Refused(reason),
        None => TeacherRows::Rows(rows.into_iter().filter_map(|row| row.encoded).collect()),
    }
}
