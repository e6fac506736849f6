//! How a template renders the last assistant turn, found by rendering it with placeholders. This gives the place of the
//! reasoning, and what the template puts before an answer without reasoning. Placing the real texts is left to
//! `encode`.

use super::{ChatTemplate, TemplateContext, TemplateMessage};
use crate::thinking::ThinkTags;

/// How an assistant's turn is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TurnForm {
    /// Before the reasoning: the opening tag and what follows it.
    pub(crate) open: String,
    /// Between reasoning and answer: the closing tag and what surrounds it.
    pub(crate) middle: String,
    /// What the template puts between the generation prompt and an answer without reasoning (an empty block, or nothing).
    pub(crate) empty_reasoning: String,
    /// The template trims white space before and after the content.
    pub(crate) trims_start: bool,
    pub(crate) trims_end: bool,
}

// Private-use letters, so that no template's tests on content match them.
const ANSWER: &str = "\u{E0B0}";
const REASONING: &str = "\u{E0B1}";

impl TurnForm {
    /// Renders placeholders to detect the form. If a template refuses them, the common form is assumed: its error is reported when
    /// the real messages are rendered.
    pub(super) fn ask(template: &ChatTemplate, tags: &ThinkTags, surroundings: TemplateContext<'_>) -> TurnForm {
        let mut form = TurnForm {
            open: format!("{}\n", tags.open),
            middle: format!("\n{}\n\n", tags.close),
            empty_reasoning: String::new(),
            trims_start: false,
            trims_end: false,
        };
        let question = message("user", "?", None);
        let render = |turn: Option<TemplateMessage>| {
            let is_prompt = turn.is_none();
            let messages: Vec<TemplateMessage> = std::iter::once(question.clone()).chain(turn).collect();
            template.render(&messages, TemplateContext { add_generation_prompt: is_prompt, ..surroundings }).ok()
        };
        let before = |rendering: &Option<String>, mark: &str| {
            rendering.as_ref().and_then(|text| text.find(mark).map(|at| text[..at].to_owned()))
        };
        let prompt = render(None).unwrap_or_default();
        let header = before(&render(Some(message("assistant", ANSWER, None))), ANSWER).unwrap_or_default();
        if let Some(inserted) = header.strip_prefix(prompt.as_str()).filter(|_| !prompt.is_empty()) {
            form.empty_reasoning = inserted.to_owned();
        } else if let Some(opens) = prompt.strip_prefix(header.as_str()).filter(|opens| opens.contains(&tags.open)) {
            form.open = opens.to_owned();
        }

        let spaced = render(Some(message("assistant", &format!(" \n{ANSWER}\n "), None)));
        if let Some((left, right)) = spaced.as_ref().and_then(|text| text.split_once(ANSWER)) {
            form.trims_start = !left.ends_with(" \n");
            form.trims_end = !right.starts_with("\n ");
        }

        let both = render(Some(message("assistant", ANSWER, Some(REASONING))));
        let bare_header = header.strip_suffix(form.empty_reasoning.as_str()).unwrap_or(&header);
        let placed = before(&both, REASONING).and_then(|text| text.strip_prefix(bare_header).map(str::to_owned));
        let between = both.as_ref().and_then(|text| {
            let (_, rest) = text.split_once(REASONING)?;
            rest.split_once(ANSWER).map(|(between, _)| between.to_owned())
        });
        if let (Some(open), Some(middle)) = (placed, between)
            && open.contains(&tags.open)
            && middle.contains(&tags.close)
        {
            (form.open, form.middle) = (open, middle);
        }
        form
    }
}

fn message(role: &'static str, content: &str, reasoning: Option<&str>) -> TemplateMessage {
    TemplateMessage::new(role, content.to_owned(), reasoning.map(str::to_owned))
}
