//! `aludel merge`: the options that turn an adapter and its student into a model folder of its own.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The options of `aludel merge`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MergeArgs {
    /// The adapter folder that training wrote, or PEFT
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: PathBuf,

    /// The model that the adapter was trained on [default: the one that the adapter names]
    #[arg(long, value_name = "PATH")]
    pub(crate) student: Option<PathBuf>,

    /// The model folder, made by this command
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: PathBuf,

    /// How weights are stored [default: as the student's, or bf16 where it is quantised]
    #[arg(long, value_name = "DTYPE", value_enum)]
    pub(crate) dtype: Option<StoredDtype>,

    /// Print a summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoredDtype {
    /// 8 bits of exponent, 7 of fraction
    Bf16,
    /// 5 bits of exponent, 10 of fraction
    F16,
    /// 8 bits of exponent, 23 of fraction
    F32,
}

const EXAMPLES: &str = "\
Examples:
  aludel merge --adapter run/adapter --output-dir merged
  aludel merge --adapter run/adapter --student student.gguf --output-dir merged --dtype f32";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn the_student_may_be_left_to_the_adapter() {
        let args: MergeArgs = parsed(&["--adapter", "run/adapter", "--output-dir", "merged", "--dtype", "f16"]);
        assert_eq!((args.student, args.dtype), (None, Some(StoredDtype::F16)));
    }
}
