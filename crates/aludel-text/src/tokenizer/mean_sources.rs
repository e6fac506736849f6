//! Chooses the ordinary tokens whose mean initialises the embedding of a new token.

use super::Tokenizer;
use crate::error::Error;

/// See [`Tokenizer::mean_source_ids`].
pub(super) fn mean_source_ids(tokenizer: &Tokenizer, token: &str) -> Result<Vec<u32>, Error> {
    // What cannot be spelt has no meaning to start from.
    let spelt = |text: &str| Ok::<_, Error>(tokenizer.encode_lossy(text, std::slice::from_ref(&(0..text.len())))?.ids);
    let mut ids = spelt(token)?;
    for word in related_words(token) {
        for spelling in [word.clone(), format!(" {word}"), capitalised(&word), format!(" {}", capitalised(&word))] {
            if let [id] = spelt(&spelling)?[..] {
                ids.push(id);
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    ids.retain(|&id| !tokenizer.is_control(id) && seen.insert(id));
    Ok(ids)
}

fn related_words(token: &str) -> Vec<String> {
    let inside = token.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase();
    let closes = token.contains('/');
    let related: &[&str] = match (inside.as_str(), closes) {
        ("think" | "thinking" | "thought" | "reasoning" | "reason" | "scratchpad", false) => {
            &["think", "thinking", "thought", "reason", "reasoning", "consider"]
        }
        ("think" | "thinking" | "thought" | "reasoning" | "reason" | "scratchpad", true) => {
            &["answer", "therefore", "finally", "conclusion", "result"]
        }
        ("answer" | "solution" | "response" | "result", false) => &["answer", "solution", "result", "response"],
        ("answer" | "solution" | "response" | "result", true) => &["end", "done", "finish"],
        _ => &[],
    };
    if related.is_empty() {
        return inside
            .split(|letter: char| !letter.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
    }
    related.iter().map(|&word| word.to_owned()).collect()
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
