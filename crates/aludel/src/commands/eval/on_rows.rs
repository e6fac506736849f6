//! What `aludel eval` says of a model by rows of data, instead of tasks: its loss, and its divergence from a teacher.

use crate::console::{Console, harmless};
use crate::hub::fetch_named;
use crate::humanize::grouped;
use crate::next_command::after_loss;
use crate::progress::{self, Position, WorkKind};
use crate::report::Outcome;
use crate::settings::set_template_date;
use aludel_distill::evaluate::divergence;
use aludel_distill::evaluate::loss::{RowsProgress, held_out_loss};
use aludel_distill::settings::Recipe;

/// Loss and perplexity on data files.
pub(super) fn loss(recipe: &Recipe, json: bool, console: &mut Console) -> anyhow::Result<Outcome> {
    let found = with_progress(recipe, held_out_loss)?;
    warn_of_rows_left_out(found.max_length, [found.too_long, found.unsupervised, found.bad_rows]);
    if let Some(known @ 1..) = found.known {
        tracing::warn!(
            "{} of {} rows have a prompt that the adapter was trained on: their loss says little of what is new",
            grouped(known),
            grouped(found.rows)
        );
    }
    if json {
        console.json_line(&found)?;
    } else {
        console.line(format_args!(
            "loss {:.4}, perplexity {:.3}, over {} supervised tokens in {} rows",
            found.loss,
            found.perplexity,
            grouped(found.supervised_tokens),
            grouped(found.rows)
        ))?;
        if let Some(adapter) = &recipe.train.init_adapter {
            console.next(&after_loss(adapter))?;
        }
    }
    Ok(Outcome::Done)
}

/// The divergence of a model from `distill.teacher` on data files, or on its own answers to their prompts, drawn with a seed.
pub(super) fn kl_to_teacher(
    recipe: &Recipe,
    own_answers: Option<u64>,
    json: bool,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let found = with_progress(recipe, |recipe, tell| divergence::kl_to_teacher(recipe, own_answers, tell))?;
    found.pair_notes.iter().for_each(|note| tracing::warn!("distill.teacher: {}", harmless(note)));
    warn_of_rows_left_out(found.max_length, [found.too_long, found.unsupervised, found.bad_rows]);
    if json {
        console.json_line(&found)?;
    } else {
        let interval = found.ci95.map_or_else(String::new, |[low, high]| format!(" [{low:.4}, {high:.4}]"));
        console.line(format_args!(
            "KL(teacher || model) {:.4}{interval} nats per token, over {} supervised tokens in {} rows{}",
            found.kl_per_token,
            grouped(found.tokens),
            grouped(found.rows),
            found.own_answers_cut.map_or_else(String::new, |cut| format!(" ({} own answers were cut)", grouped(cut))),
        ))?;
    }
    Ok(Outcome::Done)
}

/// Nothing is written, so that a signal ends it at once, like any command that is not resumed.
fn with_progress<T>(
    recipe: &Recipe,
    evaluate: impl Fn(&Recipe, &dyn Fn(RowsProgress)) -> aludel_distill::Result<T>,
) -> anyhow::Result<T> {
    let mut recipe = recipe.clone();
    fetch_named(&mut recipe)?;
    set_template_date(&mut recipe);
    let shown = progress::Progress::new();
    shown.begin(WorkKind::Loading);
    Ok(evaluate(&recipe, &|told| match told {
        RowsProgress::Loading { done, total } => shown.loading(done, total),
        RowsProgress::Rows { done, total } => {
            let at = Position::of(done as u64, total as u64, "rows");
            shown.reach_of(WorkKind::Evaluating, done as f64, total as f64, at);
        }
    })?)
}

fn warn_of_rows_left_out(max_length: usize, [too_long, unsupervised, bad_rows]: [usize; 3]) {
    if too_long + unsupervised + bad_rows > 0 {
        tracing::warn!(
            "rows left out: {} longer than {} tokens, {} without a supervised token, {} unreadable",
            grouped(too_long),
            grouped(max_length),
            grouped(unsupervised),
            grouped(bad_rows)
        );
    }
}
