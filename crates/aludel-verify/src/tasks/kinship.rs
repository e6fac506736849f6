//! Kinship: what somebody is to somebody else by way of one or two others, and how many brothers or sisters somebody has.
//! Solutions name who stands between, turn each statement so that they form a chain, and shorten the chain link by link.

use super::Difficulty;
use super::puzzle::{Puzzle, WorkedProblem};
use super::random::Choices;
use super::words::{Person, capitalised, counted};

#[cfg(test)]
mod tests;

/// The relation of one person to another, independently of their sex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    Parent,
    Child,
    Sibling,
    Spouse,
    Grandparent,
    Grandchild,
    ParentsSibling,
    SiblingsChild,
    Cousin,
    ParentInLaw,
    ChildInLaw,
    SiblingInLaw,
}

const LINKS: [Kin; 4] = [Kin::Parent, Kin::Child, Kin::Sibling, Kin::Spouse];

/// A problem without names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Riddle {
    /// Each person has the given relation to the next one: what is the relation of the first to the last?
    Chain { links: Vec<Link>, women: Vec<bool> },
    /// A person has given numbers of brothers and sisters: how many has one of the siblings?
    Siblings { teller_is_woman: bool, brothers: i64, sisters: i64, sibling_is_woman: bool, asks_sisters: bool },
}

/// The relation of a person in a chain to the next one, and whether it is worded in the other direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) kin: Kin,
    pub(super) is_turned: bool,
}

pub(super) fn puzzles() -> Vec<Riddle> {
    let mut puzzles = Vec::new();
    for length in [2, 3] {
        let kinds = LINKS.len().pow(length);
        for (kinds, women, turned) in (0..kinds)
            .flat_map(|kinds| (0..2 << length).map(move |women| (kinds, women)))
            .flat_map(|(kinds, women)| (0..1 << length).map(move |turned| (kinds, women, turned)))
        {
            let link = |at: u32| Link { kin: LINKS[kinds / 4_usize.pow(at) % 4], is_turned: turned >> at & 1 == 1 };
            let links: Vec<Link> = (0..length).map(link).collect();
            let women: Vec<bool> = (0..=length).map(|at| women >> at & 1 == 1).collect();
            let is_couple = |at: usize| links[at].kin == Kin::Spouse && women[at] == women[at + 1];
            if !(0..links.len()).any(is_couple) && whole(&links).is_some() {
                puzzles.push(Riddle::Chain { links, women });
            }
        }
    }
    for (brothers, sisters) in (0..=8).flat_map(|brothers| (0..=8).map(move |sisters| (brothers, sisters))) {
        for bits in 0..8 {
            let [teller_is_woman, sibling_is_woman, asks_sisters] = [1, 2, 4].map(|bit| bits & bit > 0);
            if (if sibling_is_woman { sisters } else { brothers }) > 0 {
                puzzles.push(Riddle::Siblings { teller_is_woman, brothers, sisters, sibling_is_woman, asks_sisters });
            }
        }
    }
    puzzles
}

/// What the first of a chain is to the last.
fn whole(links: &[Link]) -> Option<Kin> {
    links[1..].iter().try_fold(links[0].kin, |so_far, link| so_far.then(link.kin))
}

impl Kin {
    /// What A is to C, if A is this to B and B is `next` to C; `None` where that can be several things.
    fn then(self, next: Kin) -> Option<Kin> {
        Some(match (self, next) {
            (Kin::Parent, Kin::Parent) => Kin::Grandparent,
            (Kin::Parent, Kin::Spouse) => Kin::ParentInLaw,
            (Kin::Parent | Kin::Grandparent | Kin::ParentsSibling | Kin::Sibling | Kin::Cousin, Kin::Sibling) => self,
            (Kin::Child, Kin::Parent) => Kin::Sibling,
            (Kin::Child, Kin::Child) => Kin::Grandchild,
            (Kin::Child, Kin::Sibling) => Kin::SiblingsChild,
            (Kin::Sibling, Kin::Parent) => Kin::ParentsSibling,
            (Kin::Sibling, Kin::Child) => Kin::Child,
            (Kin::Sibling, Kin::Spouse) | (Kin::Spouse, Kin::Sibling) => Kin::SiblingInLaw,
            (Kin::Spouse, Kin::Child) => Kin::ChildInLaw,
            (Kin::SiblingsChild, Kin::Parent) => Kin::Cousin,
            (Kin::SiblingsChild, Kin::Child) => Kin::Grandchild,
            _ => return None,
        })
    }

    /// What the other is to this one; only for links.
    fn turned(self) -> Kin {
        match self {
            Kin::Parent => Kin::Child,
            Kin::Child => Kin::Parent,
            other => other,
        }
    }

    fn name(self, is_woman: bool) -> &'static str {
        let (woman, man) = match self {
            Kin::Parent => ("mother", "father"),
            Kin::Child => ("daughter", "son"),
            Kin::Sibling => ("sister", "brother"),
            Kin::Spouse => ("wife", "husband"),
            Kin::Grandparent => ("grandmother", "grandfather"),
            Kin::Grandchild => ("granddaughter", "grandson"),
            Kin::ParentsSibling => ("aunt", "uncle"),
            Kin::SiblingsChild => ("niece", "nephew"),
            Kin::Cousin => ("cousin", "cousin"),
            Kin::ParentInLaw => ("mother-in-law", "father-in-law"),
            Kin::ChildInLaw => ("daughter-in-law", "son-in-law"),
            Kin::SiblingInLaw => ("sister-in-law", "brother-in-law"),
        };
        if is_woman { woman } else { man }
    }
}

impl Puzzle for Riddle {
    fn id(&self) -> String {
        match self {
            Riddle::Chain { links, women } => {
                let sex = |is_woman: &bool| if *is_woman { 'w' } else { 'm' };
                let links = links.iter().zip(women).map(|(link, is_woman)| {
                    let turn = if link.is_turned { "<" } else { ">" };
                    format!("{}{turn}{}", sex(is_woman), link.kin.name(*is_woman))
                });
                format!("chain/{}/{}", links.collect::<Vec<_>>().join(","), women.last().map_or('-', sex))
            }
            Riddle::Siblings { teller_is_woman, brothers, sisters, sibling_is_woman, asks_sisters } => format!(
                "siblings/{brothers}+{sisters}/{}-{}-{}",
                Kin::Child.name(*teller_is_woman),
                Kin::Sibling.name(*sibling_is_woman),
                Kin::Sibling.name(*asks_sisters)
            ),
        }
    }

    fn difficulty(&self) -> Difficulty {
        match self {
            Riddle::Siblings { .. } => Difficulty::Easy,
            Riddle::Chain { links, .. } if links.len() == 2 => Difficulty::Easy,
            Riddle::Chain { links, .. } if links.iter().all(|link| !link.is_turned) => Difficulty::Medium,
            Riddle::Chain { .. } => Difficulty::Hard,
        }
    }

    fn write(&self, choices: &mut Choices) -> WorkedProblem {
        match self {
            Riddle::Chain { links, women } => chain(links, women, choices),
            Riddle::Siblings { teller_is_woman, sibling_is_woman, .. } => {
                let people = choices.people_of(&[*teller_is_woman, *sibling_is_woman]);
                self.count(people[0], people[1], choices)
            }
        }
    }
}

fn chain(links: &[Link], women: &[bool], choices: &mut Choices) -> WorkedProblem {
    let people = choices.people_of(women);
    let said = |at: usize| {
        let Link { kin, is_turned } = links[at];
        let (who, whose, kin) = match is_turned {
            true => (people[at + 1], people[at], kin.turned()),
            false => (people[at], people[at + 1], kin),
        };
        (who.name, whose.name, kin.name(who.is_female))
    };
    let mut facts: Vec<String> =
        (0..links.len()).map(said).map(|(who, whose, kin)| format!("{who} is {whose}'s {kin}.")).collect();
    if *choices.pick(&[false, true]) {
        facts.reverse();
    }
    let (first, last) = (people[0], people[people.len() - 1]);
    let asked = choices.say(
        &["What is {first} to {last}?", "How is {first} related to {last}?", "Who is {first} to {last}?"],
        &[("first", &first.name), ("last", &last.name)],
    );
    let link = |at: usize| {
        let (one, other, kin) = (people[at], people[at + 1], links[at].kin.name(women[at]));
        match said(at) {
            (who, ..) if who == one.name => format!("{who} to {}: {who} is the {kin}.", other.name),
            (who, _, stated) => {
                format!("{} to {who}: {who} is the {stated}, so {} is the {kin}.", one.name, one.name)
            }
        }
    };
    let between: Vec<&str> = people[1..people.len() - 1].iter().map(|person| person.name).collect();
    let mut steps = vec![format!("Both are kin of {}.", between.join(" and "))];
    steps.extend((0..links.len()).map(link));
    let mut so_far = links[0].kin;
    for (at, link) in links.iter().enumerate().skip(1) {
        // Chains that can be several things are no puzzles.
        let Some(next) = so_far.then(link.kin) else { break };
        let (one, other) = (so_far.name(women[0]), link.kin.name(women[at]));
        steps.push(format!("The {one} of the {other} is the {}.", next.name(women[0])));
        so_far = next;
    }
    let answer = so_far.name(first.is_female);
    let response = format!("{} is the {{answer}} of {}.", first.name, last.name);
    WorkedProblem { response, ..WorkedProblem::new(format!("{} {asked}", facts.join(" ")), steps.join(" "), answer) }
}

impl Riddle {
    fn count(&self, teller: Person, sibling: Person, choices: &mut Choices) -> WorkedProblem {
        let Riddle::Siblings { brothers, sisters, asks_sisters, .. } = *self else {
            return WorkedProblem::new(String::new(), String::new(), "");
        };
        let asked = Kin::Sibling.name(asks_sisters);
        let (a, b) = (teller.name, sibling.name);
        let question = choices.say(
            &[
                "{a} has {brothers} and {sisters}. {b} is a {kin} of {a}. How many {asked}s does {b} have?",
                "{a} has {brothers} and {sisters}, and one of them is {b}. How many {asked}s does {b} have?",
            ],
            &[
                ("a", &a),
                ("b", &b),
                ("brothers", &counted(brothers, "brother")),
                ("sisters", &counted(sisters, "sister")),
                ("kin", &Kin::Sibling.name(sibling.is_female)),
                ("asked", &asked),
            ],
        );
        let mut count = if asks_sisters { sisters } else { brothers };
        let sex = |is_woman: bool| if is_woman { "girl" } else { "boy" };
        let mut steps = vec![format!("{}s: {count}.", capitalised(sex(asks_sisters)))];
        // All children of that sex are counted: the teller among them, and then not the one who is asked about.
        for (person, change, word) in [(teller, 1, "more"), (sibling, -1, "less")] {
            let who = format!("{} is a {}", person.name, sex(person.is_female));
            if person.is_female != asks_sisters {
                steps.push(format!("{who}, still {count}."));
                continue;
            }
            let sign = if change > 0 { '+' } else { '-' };
            steps.push(format!("{who}, one {word}: {count} {sign} 1 = {}.", count + change));
            count += change;
        }
        WorkedProblem::new(question, steps.join(" "), count)
    }
}
