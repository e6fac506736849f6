//! `aludel merge`: the options that turn an adapter and its student into a model folder of its own.

use crate::console::Console;
use crate::progress::Progress;
use crate::report::{Helped, Outcome};
use aludel_distill::export;
use aludel_formats::{Dtype, peft};
use aludel_model::student::Student;
use clap::{Args, ValueEnum};
use serde_json::json;
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

/// Merges and says where.
pub(crate) fn run(args: &MergeArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let path = match &args.student {
        Some(path) => path.clone(),
        None => {
            let named = peft::read(&args.adapter)?.config.base_model_name_or_path.map(PathBuf::from);
            named.filter(|path| path.exists()).ok_or_else(|| Helped {
                message: format!("{}: the student that the adapter names is not there", args.adapter.display()),
                help: "give the model that it was trained on: --student PATH".to_owned(),
            })?
        }
    };
    let student = Student::open(&path)?;
    let dtype = match args.dtype {
        Some(StoredDtype::Bf16) => Dtype::BF16,
        Some(StoredDtype::F16) => Dtype::F16,
        Some(StoredDtype::F32) => Dtype::F32,
        None => export::default_dtype(&student)?,
    };
    let shown = Progress::new();
    export::merge(&student, &args.adapter, &args.output_dir, dtype, &mut |done, total| shown.merging(done, total))?;
    drop(shown);
    if args.json {
        let merged = args.output_dir.display().to_string();
        console
            .json_line(&json!({ "merged": merged, "student": path.display().to_string(), "dtype": dtype.name() }))?;
    } else {
        console.line(format_args!("merged into {} ({dtype})", args.output_dir.display()))?;
    }
    Ok(Outcome::Done)
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
