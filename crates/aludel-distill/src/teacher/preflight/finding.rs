//! What is found of a teacher and a student that do not fit together, and how it reads. What is looked for stands in the other files.

use std::fmt;

/// One thing in which a teacher does not fit a student.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: Check,
    /// What was found: it names the token, the template or the setting.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

impl Finding {
    /// A student that is to learn from itself.
    pub fn same_model() -> Finding {
        Finding {
            check: Check::SameModel,
            what: "the teacher is the student itself: their distributions are equal before the first step".to_owned(),
            mend: "name another model in distill.teacher to learn from".to_owned(),
        }
    }
}

/// What is checked of a pair, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Each id means the same token for both.
    Ids,
    /// The teacher has every token of the rows.
    MissingTokens,
    /// Both tokenizers make the same ids of a text.
    Tokenisation,
    /// The teacher's predictions are of the token that they are taken for, and not of the one before or after.
    Shift,
    /// The teacher predicts the rows far better than chance.
    Predictions,
    /// The token that ends an answer in the rows ends one for the teacher.
    EndOfTurn,
    /// Rows begin as the teacher's own do, with or without a beginning-of-text token.
    Beginning,
    /// The teacher's chat template writes the control tokens that the student's does.
    ControlTokens,
    /// Both templates render conversations alike.
    Template,
    /// The teacher is another model than the student.
    SameModel,
}

/// What a finding means for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The numbers would be of other tokens: nothing can be learnt, whatever the settings say.
    Impossible,
    /// Part of what the teacher says would be noise: it ends the run, unless `distill.pair_check` is "warn".
    Wrong,
    /// Worth a line in the log.
    Note,
}

impl Check {
    /// What a finding of it means for a run.
    pub fn severity(self) -> Severity {
        match self {
            Check::Ids | Check::MissingTokens => Severity::Impossible,
            Check::Tokenisation
            | Check::Shift
            | Check::Predictions
            | Check::EndOfTurn
            | Check::Beginning
            | Check::ControlTokens => Severity::Wrong,
            Check::Template | Check::SameModel => Severity::Note,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.what, self.mend)
    }
}

/// What was found of a pair, and ends a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch(Vec<Finding>);

impl Mismatch {
    /// Of these findings, the gravest first.
    pub fn new(findings: Vec<Finding>) -> Mismatch {
        Mismatch(findings)
    }

    /// The findings, the gravest first.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// What helps with any of them.
    fn way_out(&self) -> &'static str {
        match self.0.iter().any(|finding| finding.check.severity() == Severity::Impossible) {
            true => "learn from the teacher's answers as text (aludel trace)",
            false => "set distill.pair_check=warn to learn from it all the same",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [finding] = self.findings() {
            return write!(formatter, " {finding}, or {}", self.way_out());
        }
        for finding in self.findings() {
            write!(formatter, "\n  {finding}")?;
        }
        write!(formatter, "\n{}", self.way_out())
    }
}
