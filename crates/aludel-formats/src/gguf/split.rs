//! GGUF files in several parts, as llama.cpp's `llama-gguf-split` writes them: `NAME-00001-of-00003.gguf`, the first with the keys of
//! the model, each with some of its tensors. Finds the parts of one; reading them is `reader`'s matter.

use std::path::{Path, PathBuf};

use super::metadata::Metadata;
use crate::error::{Error, Result};

const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";
const EXTENSION: &str = ".gguf";
/// Digits of a number in a name.
const DIGITS: usize = 5;

/// The files of a model one of whose files this is, by its name: all parts in order, or the file alone.
pub fn parts_by_name(path: &Path) -> Vec<PathBuf> {
    match Name::of(path) {
        Some(name) => (0..name.count).map(|number| name.part(path, number)).collect(),
        None => vec![path.to_owned()],
    }
}

/// Which part a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// From 0 on.
    pub(super) number: usize,
    pub(super) count: usize,
    /// Tensors of all parts.
    tensors: Option<usize>,
}

impl Part {
    /// By the file's own keys; none for a file that is a complete model.
    pub(super) fn of(metadata: &Metadata) -> Result<Option<Part>> {
        let count = metadata.find(COUNT_KEY)?.unwrap_or(0);
        if count <= 1 {
            return Ok(None);
        }
        Ok(Some(Part { number: metadata.get(NUMBER_KEY)?, count, tensors: metadata.find(TENSORS_KEY)? }))
    }

    /// The files of all parts, by the name of this one.
    pub(super) fn files(self, path: &Path) -> Result<Vec<PathBuf>> {
        let named = Name::of(path).filter(|name| (name.number, name.count) == (self.number, self.count));
        if named.is_none() {
            let reason = format!(
                "it is part {} of {} by its keys, so the name of the file must end in {}, as the other parts are found by it; rename it",
                self.number.saturating_add(1),
                self.count,
                ending(self.number, self.count)
            );
            return Err(Error::Malformed { path: path.to_owned(), place: format!("key \"{NUMBER_KEY}\""), reason });
        }
        Ok(parts_by_name(path))
    }

    /// Checks another file against this part of the same model.
    pub(super) fn check_other(self, path: &Path, number: usize, metadata: &Metadata) -> Result<()> {
        let found = Part::of(metadata)?;
        if found.is_some_and(|found| (found.number, found.count) == (number, self.count)) {
            return Ok(());
        }
        let is = found.map_or("no part of a split model".to_owned(), |found| {
            format!("part {} of {}", found.number.saturating_add(1), found.count)
        });
        let reason = format!(
            "it is {is} by its keys, but part {} of {} by its name; get all parts again",
            number.saturating_add(1),
            self.count
        );
        Err(Error::Malformed { path: path.to_owned(), place: format!("key \"{NUMBER_KEY}\""), reason })
    }

    /// Checks how many tensors all parts have together.
    pub(super) fn check_tensors(self, path: &Path, found: usize) -> Result<()> {
        match self.tensors {
            Some(wanted) if wanted != found => {
                let reason = format!(
                    "it announces {wanted} tensors, but the {} parts have {found}; they are of different models, so get all parts again",
                    self.count
                );
                Err(Error::Malformed { path: path.to_owned(), place: format!("key \"{TENSORS_KEY}\""), reason })
            }
            _ => Ok(()),
        }
    }
}

/// The name of a part, taken apart.
struct Name<'a> {
    /// What comes before the numbers.
    stem: &'a str,
    number: usize,
    count: usize,
}

impl<'a> Name<'a> {
    fn of(path: &'a Path) -> Option<Name<'a>> {
        let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?;
        let (rest, count) = name.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| {
            (text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse().ok())
                .flatten()
        };
        let (number, count): (usize, usize) = (digits(number)?, digits(count)?);
        (1..=count).contains(&number).then(|| Name { stem, number: number - 1, count })
    }

    fn part(&self, path: &Path, number: usize) -> PathBuf {
        path.with_file_name(format!("{}{}", self.stem, ending(number, self.count)))
    }
}

fn ending(number: usize, count: usize) -> String {
    format!("-{:0DIGITS$}-of-{count:0DIGITS$}{EXTENSION}", number.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_the_name_of_one() {
        fn check(name: &str, wanted: &[&str]) {
            let folder = Path::new("models");
            let wanted: Vec<PathBuf> = wanted.iter().map(|name| folder.join(name)).collect();
            assert_eq!(parts_by_name(&folder.join(name)), wanted, "{name}");
        }
        check("a-of-b-00002-of-00002.gguf", &["a-of-b-00001-of-00002.gguf", "a-of-b-00002-of-00002.gguf"]);
        check("one-00001-of-00001.gguf", &["one-00001-of-00001.gguf"]);
        for whole in
            ["model.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf", "m-1-of-2.gguf", "m-00001-of-00002.bin"]
        {
            check(whole, &[whole]);
        }
    }
}
