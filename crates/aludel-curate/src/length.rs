//! Bounds on a row's length in the student's tokens. Tokenising is slow, so a row is tokenised only where its bytes leave open
//! on which side of a bound it falls.

use aludel_data::dataset::Content;

/// Counts a student's tokens: template, tokenizer and all are the caller's.
pub trait CountTokens: Sync {
    /// A number that the row's tokens cannot fall below, and one that they cannot exceed, found without tokenising.
    ///
    /// # Errors
    /// Why the row cannot be rendered.
    fn bounds(&self, content: &Content) -> Result<(usize, usize), String>;

    /// How many tokens the row has; the longest one where it makes several.
    ///
    /// # Errors
    /// Why the row cannot be tokenised.
    fn count(&self, content: &Content) -> Result<usize, String>;
}

/// How many tokens a row may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenBounds {
    /// No fewer than this.
    pub least: Option<usize>,
    /// No more than this.
    pub most: Option<usize>,
}

/// What looking at a row's length found.
pub(super) struct LengthCheck {
    pub(super) flaw: Option<String>,
    /// Whether it had to be tokenised.
    pub(super) tokenised: bool,
}

impl TokenBounds {
    pub(super) fn is_any(&self) -> bool {
        *self == TokenBounds::default()
    }

    pub(super) fn measure(&self, content: &Content, tokens: &dyn CountTokens) -> LengthCheck {
        let (fewest, most) = match tokens.bounds(content) {
            Ok(bounds) => bounds,
            Err(reason) => return LengthCheck { flaw: Some(reason), tokenised: false },
        };
        if let Some(flaw) = self.decide(fewest, most) {
            return LengthCheck { flaw, tokenised: false };
        }
        let flaw = match tokens.count(content) {
            Ok(count) => self.decide(count, count).flatten(),
            Err(reason) => Some(reason),
        };
        LengthCheck { flaw, tokenised: true }
    }

    /// The flaw of a row whose number of tokens is between two bounds, or `None` if they do not decide it.
    fn decide(&self, fewest: usize, most: usize) -> Option<Option<String>> {
        let said = |estimate: &str, number: usize| match fewest == most {
            true => format!("{number} tokens"),
            false => format!("{estimate} {number} tokens"),
        };
        match (self.least, self.most) {
            (Some(least), _) if most < least => Some(Some(format!("{}, fewer than {least}", said("at most", most)))),
            (_, Some(bound)) if fewest > bound => {
                Some(Some(format!("{}, more than {bound}", said("at least", fewest))))
            }
            (least, bound) => {
                let is_inside = least.is_none_or(|least| fewest >= least) && bound.is_none_or(|bound| most <= bound);
                is_inside.then_some(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A token for each word; bounds from bytes.
    struct Words(AtomicUsize);

    impl CountTokens for Words {
        fn bounds(&self, content: &Content) -> Result<(usize, usize), String> {
            let Content::Text(text) = content else { return Err("no text".to_string()) };
            Ok((text.len() / 10, text.len()))
        }

        fn count(&self, content: &Content) -> Result<usize, String> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let Content::Text(text) = content else { return Err("no text".to_string()) };
            Ok(text.split_whitespace().count())
        }
    }

    fn check(text: &str, wanted: Option<&str>, tokenised: bool) {
        let tokens = Words(AtomicUsize::new(0));
        let bounds = TokenBounds { least: Some(2), most: Some(20) };
        let measured = bounds.measure(&Content::Text(text.to_string()), &tokens);
        assert_eq!((measured.flaw.as_deref(), measured.tokenised), (wanted, tokenised), "{text:?}");
        assert_eq!(tokens.0.into_inner(), usize::from(tokenised), "{text:?}");
    }

    #[test]
    fn only_what_bytes_leave_open_is_tokenised() {
        check("x", Some("at most 1 tokens, fewer than 2"), false);
        check("", Some("0 tokens, fewer than 2"), false);
        check("here are a few words", None, false);
        check("two words", None, true);
        check(&"word ".repeat(30), Some("30 tokens, more than 20"), true);
        check(&"word ".repeat(50), Some("at least 25 tokens, more than 20"), false);
        check(&"unbreakable".repeat(10), Some("1 tokens, fewer than 2"), true);
    }
}
