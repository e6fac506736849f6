//! The options of a multiple-choice question: where they stand in it, and which of them an answer means, by its letter or by its value.
//! Only where both sides mean one option and no other is anything said; whatever could be meant in two ways stays as it was.

use std::sync::LazyLock;

use regex::Regex;

use super::{Verdict, choice, maths};

const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Options, each with the letter of its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options(Vec<String>);

impl Options {
    /// Options that are listed by themselves, in the order of their letters; `None` unless there are 2 to 26.
    pub fn new(texts: Vec<String>) -> Option<Options> {
        let are_there = (2..=LETTERS.len()).contains(&texts.len()) && texts.iter().all(|text| !text.trim().is_empty());
        are_there.then(|| Options(texts.iter().map(|text| bare(text)).collect()))
    }

    /// The options that a question lists: a line for each (`A. 12`, `(B) 14`, `C: 15`), or one behind the other (`(A) 12 (B) 14`,
    /// `A) 12, B) 14`, `A. 12 B. 14`). `None` where there is no list, or more than one.
    pub fn in_question(question: &str) -> Option<Options> {
        static LINE: LazyLock<Regex> =
            LazyLock::new(|| pattern(r"(?m)^[ \t*\-]*[(\[]?([A-Z])[)\].:][*)\]]*[ \t]+(\S.*)$"));
        let lines = in_order(LINE.captures_iter(question).map(|found| (letter(&found[1]), found[2].to_string())));
        let mut found = lines.into_iter().chain(MARKS.iter().filter_map(|mark| behind_each_other(question, mark)));
        let first = found.next()?;
        // A line that begins with a letter is found in several ways, and may be cut in other places: that is one list all the same.
        found.all(|other| other.0.len() == first.0.len()).then_some(first)
    }

    /// Whether an answer means the option that `gold` means. `None` where either means none of them, or could mean several.
    pub fn verdict(&self, answer_text: &str, gold: &str) -> Option<Verdict> {
        let letters = self.letters();
        let (gold, answer) = (self.meant(gold, &letters)?, self.answered(answer_text, &letters)?);
        Some(if answer == gold { Verdict::Right } else { Verdict::Wrong })
    }

    /// The letter of the option that an answer means.
    pub fn named_in(&self, answer_text: &str) -> Option<String> {
        let letters = self.letters();
        Some(letters[self.answered(answer_text, &letters)?].to_string())
    }

    fn letters(&self) -> Vec<char> {
        LETTERS.chars().take(self.0.len()).collect()
    }

    fn answered(&self, answer_text: &str, letters: &[char]) -> Option<usize> {
        if choice::is_several(answer_text, letters) {
            return None;
        }
        if let Some(marked) = maths::extract_marked(answer_text) {
            return self.meant(marked, letters);
        }
        let last = answer_text.trim().lines().rev().find(|line| !line.trim().is_empty())?;
        // "It is not (B)" takes no option.
        static HEDGE: LazyLock<Regex> = LazyLock::new(|| {
            pattern(
                r"(?i)\b(?:not|never|neither|nor|no|wrong|incorrect|false|except|unless|cannot|either|maybe|perhaps)\b|n[’']t\b",
            )
        });
        self.meant(last, letters).or_else(|| {
            let letter = choice::chosen(last, letters).filter(|_| !HEDGE.is_match(last))?;
            letters.iter().position(|other| *other == letter)
        })
    }

    /// The one option that a text means: by its letter alone, by its value alone, or by both where they belong together.
    fn meant(&self, text: &str, letters: &[char]) -> Option<usize> {
        static BOTH: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[(\[]?[A-Za-z][)\].:]+\s*(\S.*)$"));
        let text = bare(text);
        let by_value = |text: &str| {
            let mut found = self.0.iter().enumerate().filter(|(_, option)| is_same(option, text));
            let first = found.next().map(|(at, _)| at);
            // Two options of one value cannot be told apart.
            (first, found.next().is_some())
        };
        let letter = choice::leading_letter(&text, letters);
        let by_letter = letter.and_then(|letter| letters.iter().position(|other| *other == letter));
        match (by_letter, by_value(&text)) {
            (_, (_, true)) => None,
            (None, (value, false)) => value,
            // An option may itself be a letter: blood groups, names of points.
            (Some(at), (Some(other), false)) => (at == other).then_some(at),
            (Some(at), (None, false)) => match BOTH.captures(&text) {
                // "B) 12" means B if that is what B says; otherwise one of the two is a slip.
                Some(both) => match by_value(&both[1]) {
                    (Some(value), false) => (value == at).then_some(at),
                    _ => None,
                },
                None => Some(at),
            },
        }
    }
}

/// How letters are marked where options stand one behind the other; a question keeps to one of them. A point or a colon also ends
/// sentences, so that a space has to follow; small letters are marked by brackets alone.
static MARKS: LazyLock<[Regex; 6]> = LazyLock::new(|| {
    let layout = r"(?:\*\*|\\(?:text|textbf|mathrm|mathbf)\{\s*)?";
    let begin = r"(?:^|[\s,;|/$:])";
    [
        format!(r"{layout}\(([A-Z])\)(?:\*\*|\}})?"),
        format!(r"{begin}{layout}([A-Z])\)(?:\*\*|\s*\}})?"),
        format!(r"{begin}{layout}([A-Z])\.(?:\*\*|\}}|\s)\s*"),
        format!(r"{begin}{layout}([A-Z]):(?:\*\*|\}}|\s)\s*"),
        r"\(([a-z])\)".to_string(),
        format!(r"{begin}([a-z])\)"),
    ]
    .map(|mark| pattern(&mark))
});

/// The options of a list within the text: what stands between one mark and the next.
fn behind_each_other(question: &str, mark: &Regex) -> Option<Options> {
    // f(A) is no mark.
    let is_call = |mark: &regex::Match<'_>| {
        mark.as_str().starts_with('(') && question[..mark.start()].ends_with(char::is_alphanumeric)
    };
    let marks: Vec<_> = mark
        .captures_iter(question)
        .filter_map(|found| Some((found.get(0)?, letter(&found[1]).to_ascii_uppercase())))
        .filter(|(mark, _)| !is_call(mark))
        .collect();
    let (last, _) = marks.last()?;
    let ends = marks.iter().skip(1).map(|(mark, _)| mark.start()).chain([question.len()]);
    let mut texts: Vec<&str> = marks.iter().zip(ends).map(|((mark, _), end)| &question[mark.end()..end]).collect();
    // What follows the list is no part of its last option: another paragraph, another line if the list is one, another sentence if the
    // options are none.
    let others_hold = |texts: &[&str], end: &str| texts[..texts.len() - 1].iter().any(|text| text.trim().contains(end));
    let mut end = &question[last.end()..];
    for separator in ["\n\n", "\n", ". "] {
        if !others_hold(&texts, separator) {
            end = end.trim_start().split(separator).next().unwrap_or(end);
        }
    }
    *texts.last_mut()? = end.trim_end_matches('?');
    let listed = texts.into_iter().map(without_joining_word);
    in_order(marks.iter().map(|(_, letter)| *letter).zip(listed))
}

/// Without the "or" before the next option.
fn without_joining_word(text: &str) -> String {
    let text = text.trim_end();
    let joined = [" or", " and", ",or"].iter().find_map(|word| text.strip_suffix(word));
    joined.unwrap_or(text).to_string()
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

fn letter(text: &str) -> char {
    text.chars().next().unwrap_or_default()
}

/// The options if their letters are A, B, C and so on, each once.
fn in_order(found: impl Iterator<Item = (char, String)>) -> Option<Options> {
    let (letters, texts): (Vec<char>, Vec<String>) = found.unzip();
    if !letters.iter().copied().eq(LETTERS.chars().take(letters.len())) {
        return None;
    }
    Options::new(texts)
}

/// Without the layout around it.
fn bare(text: &str) -> String {
    let mut text = text.trim();
    loop {
        let before = text;
        text = text.trim_matches(|letter: char| letter.is_whitespace() || "*$~,;".contains(letter));
        text = text.trim_end_matches('.');
        for layout in ["\\qquad", "\\quad", "\\\\", "\\ ", "\\,", "\\;"] {
            text = text.strip_prefix(layout).unwrap_or(text);
            text = text.strip_suffix(layout).unwrap_or(text);
        }
        text = text.strip_suffix('\\').unwrap_or(text);
        if text == before {
            return text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }
}

fn is_same(option: &str, text: &str) -> bool {
    option == text || maths::equal(option, text) == maths::Equality::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(question: &str, cases: &[(&str, &str, Option<Verdict>)]) {
        let options = Options::in_question(question).unwrap();
        for (answer, gold, verdict) in cases {
            assert_eq!(options.verdict(answer, gold), *verdict, "{answer} for {gold}");
        }
    }

    const PRICES: &str = "What does it cost?\n\nA. 12\nB. 14\nC. 15\n\nAnswer with the letter of the right choice.";

    #[test]
    fn letters_and_values_mean_the_same_option() {
        check(
            PRICES,
            &[
                (r"\boxed{B}", "14", Some(Verdict::Right)),
                (r"\boxed{14}", "B", Some(Verdict::Right)),
                (r"\boxed{\text{(B)}}", "14.0", Some(Verdict::Right)),
                ("So it is (B).", "14", Some(Verdict::Right)),
                ("The answer is B. 14", "14", Some(Verdict::Right)),
                ("14", "B", Some(Verdict::Right)),
                (r"\boxed{A}", "14", Some(Verdict::Wrong)),
                (r"\boxed{12}", "B", Some(Verdict::Wrong)),
            ],
        );
    }

    #[test]
    fn options_on_one_line_have_values_too() {
        for question in ["What is 5+5? A) 10, B) 12", "What is 5+5? A. 10 B. 12", "What is 5+5? (A) 10 (B) 12"] {
            check(
                question,
                &[
                    (r"\boxed{A}", "10", Some(Verdict::Right)),
                    (r"\boxed{10}", "A", Some(Verdict::Right)),
                    (r"\boxed{a}", "A", Some(Verdict::Right)),
                    (r"\boxed{\text{option B}}", "12", Some(Verdict::Right)),
                    (r"\boxed{B}", "10", Some(Verdict::Wrong)),
                    (r"\boxed{11}", "A", None),
                ],
            );
        }
    }

    #[test]
    fn what_could_mean_two_options_means_none() {
        check(
            PRICES,
            &[
                // a letter with the value of another option
                (r"\boxed{B. 12}", "14", None),
                (r"\boxed{A or B}", "14", None),
                (r"\boxed{16}", "B", None),
                (r"\boxed{D}", "14", None),
                (r"\boxed{B}", "16", None),
                ("I do not know.", "14", None),
                ("It is not (B).", "14", None),
                ("The answer is not (B).", "14", None),
                ("Option B is wrong.", "14", None),
                ("It isn't (B)", "14", None),
                ("Maybe (B)?", "14", None),
                ("(B) would be 14.\nI stop here.", "14", None),
            ],
        );
        // Options that are letters themselves, in another order than their places.
        check(
            "Which blood group?\nA) B\nB) A\nC) AB",
            &[(r"\boxed{A}", "B", None), (r"\boxed{AB}", "C", Some(Verdict::Right))],
        );
        // Two options of one value.
        check(
            "Which?\nA. 1/2\nB. 0.5\nC. 3",
            &[(r"\boxed{A}", "0.5", None), (r"\boxed{C}", "3", Some(Verdict::Right))],
        );
    }

    #[test]
    fn lists_are_found_where_they_stand() {
        let of = |question: &str| Options::in_question(question).map(|options| options.0);
        let two = |first: &str, second: &str| Some(vec![first.to_string(), second.to_string()]);
        assert_eq!(of("Which?\n(A) red\n(B) blue"), two("red", "blue"));
        assert_eq!(of("Which?\n**A:** red\n**B:** dark blue."), two("red", "dark blue"));
        let contest = r"Find it. $\textbf{(A)}\ \frac12 \qquad\textbf{(B)}\ 3$";
        assert_eq!(of(contest), two(r"\frac12", "3"));
        assert_eq!(of("Let (A) be a set and (B) another."), two("be a set", "another"));
        for question in [
            "What is 5+5? A) 10, B) 12",
            "What is 5+5? A. 10 B. 12",
            "What is 5+5? (A) 10 (B) 12",
            "What is 5+5? A) 10 or B) 12?",
            "What is 5+5? A: 10; B: 12.",
            "What is 5+5? a) 10 b) 12",
            "What is 5+5? (a) 10, (b) 12",
            "What is 5+5?\nA) 10 B) 12\nAnswer with the letter.",
            "What is 5+5? A) 10, B) 12. Answer with the letter.",
            "What is 5+5? **A)** 10 **B)** 12",
            r"What is 5+5? $\text{A) }10 \quad \text{B) }12$",
            "What is 5+5? (A) 10 (B) 12\n\nThink first.",
        ] {
            assert_eq!(of(question), two("10", "12"), "{question}");
        }
        assert_eq!(of("A) 1 B) 2\nC) 3 D) 4").map(|options| options.len()), Some(4));
        assert_eq!(of("Which? A. red. B. blue. C. green.").map(|options| options.len()), Some(3));
        assert_eq!(of("He has vitamin A. Is it enough?"), None);
        assert_eq!(of("Solve f(A) = 2 for f(B)."), None);
        assert_eq!(of("a) one, b) two; A) one, B) two, C) three"), None, "two lists");
        assert_eq!(of("What is 2 + 2?"), None);
        assert_eq!(of("A. one\nC. three"), None, "B is missing");
        assert_eq!(of("A. one\nB. two\nA. three\nB. four"), None, "two lists");
        assert_eq!(of("A. one"), None);
    }
}
