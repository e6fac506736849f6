//! Chains against family trees: who is whose parent and spouse is written down, and kinship looked up by definition.

use super::*;

/// Couples with their children; people are counted from 0.
struct Tree {
    /// For each person, the number of the couple whose child they are.
    born_to: Vec<usize>,
    /// Who belongs to which couple, as a parent.
    parents: Vec<(usize, usize)>,
    spouses: Vec<(usize, usize)>,
    people: usize,
}

impl Tree {
    fn of(links: &[Link]) -> Tree {
        let people = links.len() + 1;
        let mut tree = Tree { born_to: (0..people).collect(), parents: Vec::new(), spouses: Vec::new(), people };
        for (at, link) in links.iter().enumerate() {
            match link.kin {
                Kin::Parent => tree.parents.push((tree.born_to[at + 1], at)),
                Kin::Child => tree.parents.push((tree.born_to[at], at + 1)),
                Kin::Sibling => tree.unite(tree.born_to[at], tree.born_to[at + 1]),
                _ => tree.spouses.push((at, at + 1)),
            }
        }
        // No person is a parent in two couples.
        for (index, &(couple, parent)) in tree.parents.clone().iter().enumerate() {
            for &(other, same) in &tree.parents.clone()[index + 1..] {
                if parent == same {
                    tree.unite(couple, other);
                }
            }
        }
        tree
    }

    fn unite(&mut self, left: usize, right: usize) {
        self.born_to.iter_mut().chain(self.parents.iter_mut().map(|(couple, _)| couple)).for_each(|couple| {
            if *couple == right {
                *couple = left;
            }
        });
    }

    fn is(&self, a: usize, kin: Kin, b: usize) -> bool {
        let through = |first: Kin, second: Kin| (0..self.people).any(|c| self.is(a, first, c) && self.is(c, second, b));
        match kin {
            Kin::Parent => self.parents.contains(&(self.born_to[b], a)),
            Kin::Child => self.is(b, Kin::Parent, a),
            Kin::Sibling => a != b && self.born_to[a] == self.born_to[b],
            Kin::Spouse => self.spouses.contains(&(a, b)) || self.spouses.contains(&(b, a)),
            Kin::Grandparent => through(Kin::Parent, Kin::Parent),
            Kin::Grandchild => self.is(b, Kin::Grandparent, a),
            Kin::ParentsSibling => through(Kin::Sibling, Kin::Parent),
            Kin::SiblingsChild => self.is(b, Kin::ParentsSibling, a),
            Kin::Cousin => through(Kin::SiblingsChild, Kin::Parent),
            Kin::ParentInLaw => through(Kin::Parent, Kin::Spouse),
            Kin::ChildInLaw => self.is(b, Kin::ParentInLaw, a),
            Kin::SiblingInLaw => through(Kin::Sibling, Kin::Spouse) || through(Kin::Spouse, Kin::Sibling),
        }
    }
}

const ALL: [Kin; 12] = [
    Kin::Parent,
    Kin::Child,
    Kin::Sibling,
    Kin::Spouse,
    Kin::Grandparent,
    Kin::Grandchild,
    Kin::ParentsSibling,
    Kin::SiblingsChild,
    Kin::Cousin,
    Kin::ParentInLaw,
    Kin::ChildInLaw,
    Kin::SiblingInLaw,
];

#[test]
fn chains_agree_with_family_trees() {
    for puzzle in puzzles() {
        let Riddle::Chain { links, women } = &puzzle else { continue };
        let tree = Tree::of(links);
        let found: Vec<&str> =
            ALL.iter().filter(|&&kin| tree.is(0, kin, links.len())).map(|kin| kin.name(women[0])).collect();
        assert_eq!(found, [puzzle.write(&mut Choices::new(1)).answer], "{puzzle:?}");
    }
}

#[test]
fn brothers_and_sisters_are_counted_head_by_head() {
    for puzzle in puzzles() {
        let Riddle::Siblings { teller_is_woman, brothers, sisters, sibling_is_woman, asks_sisters } = puzzle else {
            continue;
        };
        let mut heads = vec![teller_is_woman];
        heads.extend((0..brothers).map(|_| false));
        heads.extend((0..sisters).map(|_| true));
        let sibling = 1 + heads[1..].iter().position(|&is_woman| is_woman == sibling_is_woman).unwrap();
        heads.remove(sibling);
        let wanted = heads.iter().filter(|&&is_woman| is_woman == asks_sisters).count();
        assert_eq!(puzzle.write(&mut Choices::new(1)).answer, wanted.to_string(), "{puzzle:?}");
    }
}
