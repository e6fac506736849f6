//! What rows depend on beside data, tokenizer and template: each option of their preparation under a name of its own, so that an
//! upgrade that adds one leaves the keys of begun runs as they are. Each struct is taken apart whole: an option that is added does
//! not compile before it was thought of here.

use aludel_data::key_fields::Fields;
use aludel_text::{EncodeOptions, LossOn, PreflightOptions, Purpose, ThinkTags};

use super::Preparer;
use crate::settings::LongRows;

impl Preparer<'_> {
    /// The options as fields of a key; `max_length` is that by which rows are chosen, none for rows of any length.
    pub(crate) fn fields(&self, max_length: Option<usize>) -> Fields {
        let Preparer { student, encode, preflight, cut_at, long_rows, context } = self;
        let tells_date = student.template.as_ref().is_some_and(|template| template.asks_for_date());
        let fields = Fields::new("preparation", 1)
            .with("end_id", &student.eos_token_ids.first().copied())
            .with("beginning_id", &student.text.bos_id());
        let fields = match cut_at.or(max_length) {
            Some(max_length) => fields.with("max_length", &max_length),
            None => fields,
        };
        let fields = match context {
            Some(context) => fields.with("teacher_context", &context.fields()),
            None => fields,
        };
        fields
            .with("long_rows", long_rows_name(*long_rows))
            .with("encode", &encoding(encode, tells_date))
            .with("preflight", &checks(preflight))
    }
}

fn encoding(options: &EncodeOptions, tells_date: bool) -> Fields {
    let EncodeOptions { purpose, loss_on, think: ThinkTags { open, close }, date, variables } = options;
    // Rows that do not contain the date are valid on any day.
    let date = date.filter(|_| tells_date).map(|date| date.to_string());
    let mut variables: Vec<Vec<String>> =
        variables.iter().map(|(name, value)| vec![name.clone(), value.to_string()]).collect();
    variables.sort();
    let purpose = match purpose {
        Purpose::Train => "train",
        Purpose::Prompt { open_thinking: false } => "prompt",
        Purpose::Prompt { open_thinking: true } => "prompt with reasoning opened",
    };
    Fields::new("encoding", 1)
        .with("purpose", purpose)
        .with("loss_on", loss_on_name(*loss_on))
        .with("think_open", open)
        .with("think_close", close)
        .with_unless("date", &date, &None)
        .with_unless("variables", &variables, &Vec::new())
}

fn checks(options: &PreflightOptions) -> Fields {
    let PreflightOptions { max_length, allow_cut_reasoning, loss_on } = options;
    Fields::new("preflight", 1)
        .with("max_length", max_length)
        .with("allow_cut_reasoning", allow_cut_reasoning)
        .with("loss_on", loss_on_name(*loss_on))
}

fn loss_on_name(loss_on: LossOn) -> &'static str {
    match loss_on {
        LossOn::Assistant => "assistant",
        LossOn::Answer => "answer",
        LossOn::All => "all",
    }
}

fn long_rows_name(long_rows: LongRows) -> &'static str {
    match long_rows {
        LongRows::Drop => "drop",
        LongRows::Truncate => "truncate",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::Recipe;

    /// Of a recipe's settings, for a template that prints the date.
    fn key(set: &str) -> String {
        let recipe = Recipe::from_toml(set).unwrap().recipe;
        let (encode, preflight) = (recipe.encode_options(), recipe.preflight_options());
        Fields::new("both", 1).with("encode", &encoding(&encode, true)).with("preflight", &checks(&preflight)).hash()
    }

    #[test]
    fn each_option_that_rows_depend_on_changes_the_key() {
        let settings = [
            "",
            "[data]\nloss_on = \"all\"",
            "[data]\nloss_on = \"answer\"",
            "[data]\nlong_rows = \"truncate\"\n[train]\nmax_length = 2048",
            "[data]\nlong_rows = \"truncate\"\n[train]\nmax_length = 100",
            "[data]\nallow_cut_reasoning = true",
            "[data]\ntemplate_date = \"2026-01-01\"",
            "[data]\ntemplate_variables = { a = 1 }",
            "[data]\ntemplate_variables = { a = \"1\" }",
            "[data]\ntemplate_variables = { a = 1, b = 2 }",
        ];
        let keys: std::collections::BTreeSet<String> = settings.iter().map(|set| key(set)).collect();
        assert_eq!(keys.len(), settings.len());
        let order = |set| key(&format!("[data]\ntemplate_variables = {set}"));
        assert_eq!(order("{ a = 1, b = 2 }"), order("{ b = 2, a = 1 }"));
    }

    #[test]
    fn the_date_counts_where_the_template_tells_it() {
        let dated = EncodeOptions { date: Some("2026-01-01".parse().unwrap()), ..EncodeOptions::default() };
        assert_eq!(encoding(&dated, false), encoding(&EncodeOptions::default(), true));
        assert_ne!(encoding(&dated, true), encoding(&EncodeOptions::default(), true));
    }

    /// Runs are resumed by these: what they were is written down here, and must not change with the version.
    #[test]
    fn keys_of_begun_runs_go_on_to_hold() {
        let mut variables = serde_json::Map::new();
        variables.insert("enable_thinking".to_owned(), json!(false));
        let options = EncodeOptions {
            date: Some("2026-01-01".parse().unwrap()),
            variables,
            ..EncodeOptions::train(LossOn::Answer)
        };
        assert_eq!(
            [encoding(&options, true).hash(), key("")],
            [
                "d5cdbf423445c2360b5161fb2a5565db6c0581ca417fa8ad1ad621fdfe9c89c8",
                "645ead1230503e388ea41b81ccd8eb8c6e5671138419f2007cb5550177d1a23e"
            ]
        );
    }
}
