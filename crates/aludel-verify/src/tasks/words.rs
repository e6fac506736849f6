//! Wording that the families share: sentences with placeholders, people with names, numbers before nouns.

use std::fmt::Display;

use super::random::Choices;

/// What is put in a sentence's places: `{name}` becomes the value.
pub(super) type Values<'a> = [(&'a str, &'a dyn Display)];

impl Choices {
    /// One of the sentences, filled in.
    pub(super) fn say(&mut self, sentences: &[&'static str], values: &Values<'_>) -> String {
        let sentence: &&'static str = self.pick(sentences);
        fill(sentence, values)
    }

    /// Different people, in an order of chance.
    pub(super) fn people<const N: usize>(&mut self) -> [Person; N] {
        let (start, stride) = (*self.pick(&PLACES), *self.pick(&[1, 5, 7, 11]));
        std::array::from_fn(|index| PEOPLE[(start + index * stride) % PEOPLE.len()])
    }

    /// A person for each entry; `true` is a woman.
    pub(super) fn people_of(&mut self, women: &[bool]) -> Vec<Person> {
        let (start, stride) = (*self.pick(&PLACES), *self.pick(&[1, 5, 7, 11]));
        let couple = |index: usize| 2 * (start + index * stride) % PEOPLE.len();
        women.iter().enumerate().map(|(index, &is_woman)| PEOPLE[couple(index) + usize::from(!is_woman)]).collect()
    }
}

/// A sentence with its places filled in.
pub(super) fn fill(sentence: &str, values: &Values<'_>) -> String {
    values
        .iter()
        .fold(sentence.to_string(), |text, (name, value)| text.replace(&format!("{{{name}}}"), &value.to_string()))
}

/// Somebody in a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) is_female: bool,
}

const fn she(name: &'static str) -> Person {
    Person { name, is_female: true }
}

const fn he(name: &'static str) -> Person {
    Person { name, is_female: false }
}

/// Women and men alternate. A stride coprime to 12 selects each person at most once.
const PEOPLE: [Person; 24] = [
    she("Anna"),
    he("Tom"),
    she("Mary"),
    he("Ben"),
    she("Lucy"),
    he("Paul"),
    she("Emma"),
    he("Jack"),
    she("Sarah"),
    he("Peter"),
    she("Julia"),
    he("Mark"),
    she("Alice"),
    he("David"),
    she("Nora"),
    he("Sam"),
    she("Laura"),
    he("John"),
    she("Helen"),
    he("Max"),
    she("Rose"),
    he("Leo"),
    she("Kate"),
    he("Adam"),
];

const PLACES: [usize; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

/// "1 pair", "2 pairs".
pub(super) fn counted(count: i64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// The article before a number below 80.
pub(super) fn article(number: i64) -> &'static str {
    if matches!(number, 8 | 11 | 18) { "an" } else { "a" }
}

pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Things one after another, with commas.
pub(super) fn joined(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
