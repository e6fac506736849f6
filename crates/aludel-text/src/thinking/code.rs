//! Decides whether a tag in a text is meant as one, or is only mentioned: in quotes, as code on its line, in a block of
//! code. The neighbouring modules list the tags.

/// Whether an opening tag between these texts is one: not merely mentioned, not in a block of code, not joined to a word.
pub(super) fn is_opening(before: &str, after: &str) -> bool {
    let is_grown = before.ends_with(char::is_alphanumeric);
    !is_grown && !is_spoken_of(before, after) && fence(before).is_none() && !is_indented(before)
}

/// Whether a closing tag between these texts is one: not merely mentioned, and not in a block of code that continues after it. Reasoning may well
/// end in the middle of a block of code: then the fences behind the tag come in pairs.
pub(super) fn is_closing(before: &str, after: &str) -> bool {
    let goes_on = |(letter, count): (char, usize)| {
        let fences =
            after.lines().skip(1).filter(|line| fence_of(line).is_some_and(|own| own.0 == letter && own.1 >= count));
        !fences.count().is_multiple_of(2)
    };
    !is_spoken_of(before, after) && !fence(before).is_some_and(goes_on)
}

/// Maximum number of mentioned tags that are skipped.
pub(super) const MOST: usize = 64;

/// Whether a closing tag without an opening one can be the end of reasoning: at the edge of its line, or directly after a sentence.
/// In the middle of a sentence it may be a mention.
pub(super) fn ends_reasoning(before: &str, after: &str) -> bool {
    let is_blank = |line: Option<&str>| line.is_none_or(|line| line.trim().is_empty());
    let begins_line = is_blank(before.rsplit('\n').next());
    let ends_line = is_blank(after.split('\n').next());
    let goes_on = after.starts_with(' ') && after.trim_start().starts_with(char::is_lowercase);
    let sentence = before.trim_end_matches(['"', '\'', '”', '’', '»', ')', ']', '*', '_', '$']);
    let ends_sentence = sentence.ends_with(['.', '!', '?', '…', '。', '！', '？']);
    ends_line || (begins_line || ends_sentence) && !goes_on
}

/// Whether a text between these is in quotes, or code on its line.
fn is_spoken_of(before: &str, after: &str) -> bool {
    let is_quoted =
        before.ends_with(['`', '"', '\'', '“', '‘', '«']) && after.starts_with(['`', '"', '\'', '”', '’', '»']);
    let (before, after) = (before.rsplit('\n').next(), after.split('\n').next());
    let is_odd = before.is_some_and(|line| fence_of(line).is_none() && line.matches('`').count() % 2 == 1);
    is_quoted || is_odd && after.is_some_and(|line| line.contains('`'))
}

/// Whether the last line of a text is code by its indent: four columns, after an empty line or such a line.
pub(super) fn is_indented(before: &str) -> bool {
    let is_deep = |line: &str| line.starts_with("    ") || line.starts_with('\t');
    let mut lines = before.rsplit('\n');
    let own = lines.next().is_some_and(|line| is_deep(line) && line.trim().is_empty());
    own && lines.next().is_some_and(|line| line.trim().is_empty() || is_deep(line))
}

/// The fence of the block of code that is open at the end of a text.
fn fence(text: &str) -> Option<(char, usize)> {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines() {
        let Some((letter, count)) = fence_of(line) else { continue };
        open = match open {
            None => Some((letter, count)),
            Some(own) if own.0 == letter && count >= own.1 && line.trim().chars().all(|other| other == letter) => None,
            own => own,
        };
    }
    open
}

/// The character of a fence at the beginning of a line, and their number.
fn fence_of(line: &str) -> Option<(char, usize)> {
    let line = line.trim_start();
    let letter = line.chars().next().filter(|letter| matches!(letter, '`' | '~'))?;
    let count = line.chars().take_while(|other| *other == letter).count();
    (count >= 3).then_some((letter, count))
}
