//! The language of the text that is trained on. A part in another script is found anywhere; languages of one script are distinguished by
//! trigrams, which needs much prose, so the text is classified as a whole and only a confident result drops its row.

use whatlang::{Info, Lang, Script, detect};

use crate::Error;
use aludel_data::dataset::Content;
use aludel_data::trace::{learnt_words, questions};

/// Number of places that are searched for another script…
const WINDOWS: usize = 8;
/// …and the letters of each.
const WINDOW_LETTERS: usize = 200;

/// Minimum letters of prose to detect its language, and the maximum that are examined.
const LEAST_LETTERS: usize = 200;
const MOST_LETTERS: usize = 4_000;

/// Which languages are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Languages {
    named: Vec<Lang>,
    /// That of the row's own prompt, too.
    prompt: bool,
}

impl Languages {
    /// Reads names of languages: ISO 639-3 codes such as `eng`, English names, or `prompt` for that of the row's prompt.
    ///
    /// # Errors
    /// [`Error::Curate`] for a name that is none of these.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Languages, Error> {
        let mut languages = Languages { named: Vec::new(), prompt: false };
        for name in names {
            match Lang::from_code(name).or_else(|| by_english_name(name)) {
                Some(language) => languages.named.push(language),
                None if name == "prompt" => languages.prompt = true,
                None => {
                    let reason = format!(
                        "{name:?} is no language that can be told apart; name it by its ISO 639-3 code, such as \"eng\" or \"cmn\", or by its English name, or write \"prompt\" for that of each row's prompt"
                    );
                    return Err(Error::Curate { setting: "languages", reason });
                }
            }
        }
        Ok(languages)
    }

    /// Whether any language passes.
    pub(super) fn is_any(&self) -> bool {
        self.named.is_empty() && !self.prompt
    }

    /// What is wrong with a row's language, or `None` if nothing is, or if it cannot be detected.
    pub(super) fn flaw(&self, content: &Content) -> Option<String> {
        let mut wanted = self.named.clone();
        if self.prompt {
            let prompt: String = questions(content).collect::<Vec<_>>().join("\n");
            // Where the prompt's language is unsure, nothing can be said against the answer's.
            wanted.push(language(&prose(&prompt))?.lang());
        }
        learnt_words(content).find_map(|text| {
            let prose = prose(text);
            let foreign = language(&prose).filter(|found| !wanted.contains(&found.lang()));
            foreign.map(|found| format!("it is in {}", found.lang().eng_name())).or_else(|| {
                let script = scripts(&prose).find(|script| !may_write(*script, &wanted))?;
                Some(format!("a part of it is written in {}", script.name()))
            })
        })
    }
}

fn by_english_name(name: &str) -> Option<Lang> {
    Lang::all().iter().copied().find(|language| language.eng_name().eq_ignore_ascii_case(name))
}

/// The language of a text, if the detector is sure of it.
fn language(prose: &[char]) -> Option<Info> {
    let looked_at: String = prose.iter().take(MOST_LETTERS).collect();
    detect(&looked_at).filter(|found| found.is_reliable() && prose.len() >= LEAST_LETTERS)
}

/// The scripts of parts of a text, from its beginning to its end.
fn scripts(prose: &[char]) -> impl Iterator<Item = Script> + '_ {
    let windows = (prose.len() / WINDOW_LETTERS).clamp(1, WINDOWS);
    let step = prose.len().saturating_sub(WINDOW_LETTERS) / (windows - 1).max(1);
    (0..windows).filter_map(move |window| {
        let letters = prose[window * step..].iter().take(WINDOW_LETTERS);
        whatlang::detect_script(&letters.collect::<String>())
    })
}

/// Whether one of the languages is written in a script; Japanese has its ideographs in common with Mandarin.
fn may_write(script: Script, languages: &[Lang]) -> bool {
    let is_shared = script == Script::Mandarin && languages.contains(&Lang::Jpn);
    is_shared || languages.iter().any(|language| script.langs().contains(language))
}

/// Letters and single spaces of words that look like prose: no formulas, commands or variables, and no names, which say
/// little of the language that they stand in.
fn prose(text: &str) -> Vec<char> {
    let mut letters = Vec::with_capacity(text.len().min(1 << 16));
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|character: char| character.is_ascii_punctuation());
        let is_prose =
            !bare.is_empty() && bare.chars().all(|character| character.is_alphabetic() || "'’-,".contains(character));
        let is_name = bare.starts_with(char::is_uppercase);
        if (is_prose || !bare.is_ascii()) && !is_name {
            letters.extend(bare.chars());
            letters.push(' ');
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use aludel_text::message::Message;

    use super::*;

    const ENGLISH: &str = "The train leaves the station at eight and travels for three hours before it stops for the \
        first time, so we have to find out how far it has come by then, and how long the rest of the way will take if nothing else gets into its way on the line.";
    const GERMAN: &str = "Der Zug verlässt den Bahnhof um acht Uhr und fährt drei Stunden, bevor er zum ersten Mal hält, \
        also müssen wir herausfinden, wie weit er bis dahin gekommen ist und wie lange der Rest noch dauern wird, wenn ihm unterwegs nichts anderes mehr in die Quere kommt oder ihn gar aufhält.";
    const CHINESE: &str = "火车八点离开车站，行驶三个小时后第一次停车，所以我们需要求出到那时它走了多远，以及剩下的路程还需要多长时间。\
        首先我们设火车的速度为每小时六十公里，那么三个小时后它走了一百八十公里，剩下的路程是总路程减去这一段，然后再除以速度就得到答案了。";

    fn check(languages: &[&str], prompt: &str, answer: &str, wanted: Option<&str>) {
        let content = Content::Messages(vec![Message::user(prompt), Message::assistant(answer)]);
        let found = Languages::parse(languages.iter().copied()).unwrap().flaw(&content);
        assert_eq!(found.as_deref(), wanted, "{languages:?} {answer}");
    }

    #[test]
    fn named_languages_pass_and_others_do_not() {
        check(&["eng"], ENGLISH, ENGLISH, None);
        check(&["eng", "deu"], ENGLISH, GERMAN, None);
        check(&["English"], ENGLISH, GERMAN, Some("it is in German"));
        check(&["eng"], ENGLISH, CHINESE, Some("a part of it is written in Mandarin"));
    }

    #[test]
    fn the_prompt_may_decide() {
        check(&["prompt"], GERMAN, GERMAN, None);
        check(&["prompt"], GERMAN, ENGLISH, Some("it is in English"));
        check(&["prompt"], "2+2?", GERMAN, None);
    }

    #[test]
    fn one_foreign_part_is_found_in_a_long_text() {
        let mixed = format!("{} {} {}", ENGLISH.repeat(5), CHINESE.repeat(8), ENGLISH.repeat(5));
        check(&["eng"], ENGLISH, &mixed, Some("a part of it is written in Mandarin"));
    }

    #[test]
    fn formulas_say_nothing() {
        check(&["eng"], "?", &r"\frac{a}{b} = x_1 + \sqrt{y} \cdot z ".repeat(40), None);
        check(&["eng"], "?", "42", None);
        check(&["eng"], "?", &"Jeffrey → Richard → Marie, Pierre; François and Andrea → Jean. ".repeat(20), None);
    }

    #[test]
    fn an_unknown_language_is_refused() {
        let message = Languages::parse(["klingon"]).unwrap_err().to_string();
        assert!(message.contains("\"klingon\"") && message.contains("\"eng\""), "{message}");
    }
}
