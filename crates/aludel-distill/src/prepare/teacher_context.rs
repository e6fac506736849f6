//! What a teacher sees of a row beside the student: a system prompt and a column's text, in the student's own template. Its row must end
//! as the student's does, from the first supervised token on, so that their distributions are of the same tokens.

use std::borrow::Cow;

use aludel_data::dataset::{Content, Record};
use aludel_data::key_fields::Fields;
use aludel_model::student::Student;
use aludel_text::{EncodeOptions, Encoded, LossOn, Message, Role, encode};

use crate::settings::{DistillSettings, TeacherContext};

/// What stands between a text and what is added to it.
const BETWEEN: &str = "\n\n";

impl TeacherContext {
    /// As fields of a key.
    pub(super) fn fields(&self) -> Fields {
        let TeacherContext { system, column } = self;
        Fields::new("teacher context", 1).with("system", system).with("column", column)
    }

    /// For each of the student's rows of a record, what the teacher reads in place of the tokens before the first supervised one.
    ///
    /// # Errors
    /// Why the record has no such rows.
    pub(super) fn tokens(
        &self,
        student: &Student,
        options: &EncodeOptions,
        record: &Record,
        messages: &[Message],
        rows: &[Encoded],
    ) -> Result<Vec<Vec<u32>>, String> {
        if matches!(record.content, Content::Text(_)) {
            return Err(format!("it is plain text, without a prompt that {} could be put into", self.named()));
        }
        if options.loss_on == LossOn::All {
            return Err(format!(
                "with data.loss_on = \"all\" its prompt is learnt, too, which is another one for a teacher with {}; set data.loss_on = \
                 \"assistant\"",
                self.named()
            ));
        }
        let seen = self.messages(messages, record.context.as_deref())?;
        let template = student.chat_template().map_err(|error| error.to_string())?;
        let theirs = encode(template, &student.text.tokenizer, &seen, options)
            .map_err(|error| format!("with {}: {error}", self.named()))?;
        if theirs.len() != rows.len() {
            return Err(format!(
                "with {} the template makes {} rows of it, and {} without; leave the setting out, or split the conversation",
                self.named(),
                theirs.len(),
                rows.len()
            ));
        }
        rows.iter().zip(&theirs).map(|(own, theirs)| self.aligned(student, own, theirs)).collect()
    }

    /// The conversation as the teacher sees it.
    fn messages<'a>(&self, messages: &'a [Message], hint: Option<&str>) -> Result<Cow<'a, [Message]>, String> {
        let mut seen = Cow::Borrowed(messages);
        if let Some(hint) = hint {
            let learnt = messages.iter().position(|message| message.role == Role::Assistant && message.weight > 0.0);
            let before = &messages[..learnt.unwrap_or(messages.len())];
            let asked = before.iter().rposition(|message| message.role == Role::User).ok_or_else(|| {
                "no user's message comes before its first answer, for distill.teacher_context_column to be added to"
                    .to_owned()
            })?;
            let content = &mut seen.to_mut()[asked].content;
            *content = format!("{content}{BETWEEN}{hint}");
        }
        if let Some(system) = &self.system {
            match seen.first().is_some_and(|first| first.role == Role::System) {
                true => {
                    let content = &mut seen.to_mut()[0].content;
                    *content = match content.trim().is_empty() {
                        true => system.clone(),
                        false => format!("{system}{BETWEEN}{content}"),
                    };
                }
                false => seen.to_mut().insert(0, Message::system(system.clone())),
            }
        }
        Ok(seen)
    }

    /// The teacher's tokens before the first supervised one, where the rest is the student's, token by token.
    fn aligned(&self, student: &Student, own: &Encoded, theirs: &Encoded) -> Result<Vec<u32>, String> {
        let first = |row: &Encoded| row.weights.iter().position(|&weight| weight > 0.0);
        // Rows without a supervised token are left out.
        let Some(start) = first(own) else { return Ok(Vec::new()) };
        let differs = |what: String| {
            format!(
                "with {} the template renders the answer differently for the teacher: {what}; leave the setting out, or write the text \
                 so that the template keeps the answer as it is",
                self.named()
            )
        };
        let their_start = first(theirs).filter(|&at| at > 0).ok_or_else(|| differs("it has none".to_owned()))?;
        let (answer, other) = (&own.ids[start..], &theirs.ids[their_start..]);
        let is_learnt = |row: &Encoded, at: usize| row.weights[at] > 0.0;
        let same = answer.iter().zip(other).enumerate().take_while(|(at, (own_id, their_id))| {
            own_id == their_id && is_learnt(own, start + at) == is_learnt(theirs, their_start + at)
        });
        let same = same.count();
        if same < answer.len() || same < other.len() {
            let token = |ids: &[u32]| match ids.get(same) {
                Some(&id) => {
                    student.text.tokenizer.id_to_token(id).map_or(format!("{id}"), |token| format!("{token:?}"))
                }
                None => "its end".to_owned(),
            };
            let (place, own, theirs) = (same + 1, token(answer), token(other));
            return Err(differs(format!("token {place} of it is {theirs}, and the student's is {own}")));
        }
        Ok(theirs.ids[..their_start].to_vec())
    }

    /// The settings that say so.
    fn named(&self) -> &'static str {
        match (&self.system, &self.column) {
            (Some(_), Some(_)) => "distill.teacher_system and distill.teacher_context_column",
            (None, Some(_)) => "distill.teacher_context_column",
            _ => "distill.teacher_system",
        }
    }
}

impl DistillSettings {
    /// What the teacher sees that the student does not; none where they see the same.
    pub fn teacher_context(&self) -> Option<TeacherContext> {
        let system = self.teacher_system.clone().filter(|system| !system.trim().is_empty());
        let column = self.teacher_context_column.clone();
        (system.is_some() || column.is_some()).then_some(TeacherContext { system, column })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(context: &TeacherContext, messages: &[Message], hint: Option<&str>) -> Vec<(Role, String)> {
        let seen = context.messages(messages, hint).unwrap();
        seen.iter().map(|message| (message.role, message.content.clone())).collect()
    }

    #[test]
    fn a_system_prompt_comes_before_the_rows_own_and_a_hint_after_the_question() {
        let both = TeacherContext { system: Some("Be right.".to_owned()), column: Some("hint".to_owned()) };
        let asked =
            [Message::user("1 + 1?"), Message::assistant("2"), Message::user("Sure?"), Message::assistant("Yes")];
        let system = |text: &str| (Role::System, text.to_owned());
        let user = |text: &str| (Role::User, text.to_owned());
        let of_first = seen(&both, &asked, Some("It is 2."));
        assert_eq!(of_first[..2], [system("Be right."), user("1 + 1?\n\nIt is 2.")]);
        assert_eq!(of_first[3], user("Sure?"));
        // A turn that is only context is not what the hint is for.
        let mut second = asked.to_vec();
        second[1].weight = 0.0;
        assert_eq!(seen(&both, &second, Some("Say yes."))[3], user("Sure?\n\nSay yes."));
        let mut with_own = vec![Message::system("Be brief.")];
        with_own.extend(asked.clone());
        assert_eq!(seen(&both, &with_own, None)[0], system("Be right.\n\nBe brief."));
        let refused = both.messages(&[Message::assistant("Hello")], Some("hint")).unwrap_err();
        assert!(refused.contains("distill.teacher_context_column"), "{refused}");
    }

    #[test]
    fn an_empty_system_prompt_is_none() {
        let settings = |system: &str| DistillSettings { teacher_system: Some(system.to_owned()), ..Default::default() };
        assert_eq!(settings(" \n").teacher_context(), None);
        assert_eq!(DistillSettings::default().teacher_context(), None);
        assert_ne!(
            settings("a").teacher_context().unwrap().fields(),
            settings("b").teacher_context().unwrap().fields()
        );
    }
}
