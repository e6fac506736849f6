//! Normalises names and words so that their spellings can be compared. Lists of names are in the modules that use
//! them.

/// The letters and digits of a name, in lower case.
pub fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_marks_and_spaces_do_not_count() {
        for (name, word) in [("Thought-Process", "thoughtprocess"), (" step 2_b", "step2b"), ("Ä-é", "äé"), ("<>", "")]
        {
            assert_eq!(letters(name).collect::<String>(), word, "{name}");
        }
    }
}
