//! `aludel merge`: the options that turn an adapter and its student into a model folder of its own.

use crate::card::write_for_merged;
use crate::console::Console;
use crate::hub::local_model;
use crate::next_command::{after_merging, other_runtimes};
use crate::progress::{Progress, WorkKind};
use crate::report::{ErrorWithHelp, Outcome};
use crate::run_folder::adapter_of;
use crate::value_parser::bytes;
use aludel_distill::base_model::AdapterStudent;
use aludel_distill::merge;
use aludel_distill::training_facts::TrainingFacts;
use aludel_formats::{Dtype, peft};
use aludel_model::hub_name::is_hub_name;
use aludel_model::student::Student;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The options of `aludel merge`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MergeArgs {
    /// Adapter folder, from `aludel train` or PEFT, or the folder of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: PathBuf,

    /// Base model that the adapter was trained on, or hf:owner/name [default: the one that the adapter names]
    #[arg(long, value_name = "PATH")]
    pub(crate) student: Option<PathBuf>,

    /// Model folder to create
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: PathBuf,

    /// Data type of the stored weights [default: the base model's, or bf16 if it is quantised]
    #[arg(long, value_name = "DTYPE", value_enum)]
    pub(crate) dtype: Option<StoredDtype>,

    /// Size up to which a weight file is filled, such as 4GB or 500MB; a larger model has several files and an index
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value = "4GB")]
    pub(crate) max_shard_size: u64,

    /// Print a summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Merges and says where.
pub(crate) fn run(args: &MergeArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let adapter = adapter_of(&args.adapter)?;
    let shown = Progress::new();
    shown.begin(WorkKind::Hashing);
    let trained_on = AdapterStudent::read(&adapter)?;
    let path = match &args.student {
        Some(path) => local_model(path)?,
        None => student_of(&adapter, trained_on.as_ref())?,
    };
    let student = Student::open(&path)?;
    let dtype = match args.dtype {
        Some(StoredDtype::Bf16) => Dtype::BF16,
        Some(StoredDtype::F16) => Dtype::F16,
        Some(StoredDtype::F32) => Dtype::F32,
        None => merge::default_dtype(&student)?,
    };
    if let Some(told) = TrainingFacts::read(&adapter)?.and_then(|facts| facts.merged_weights()) {
        tracing::warn!("{told}");
    }
    let tell = &mut |done, total| shown.merging(done, total);
    // No merged model appears without its card.
    let card =
        |folder: &Path| write_for_merged(folder, &adapter, &path, dtype.name()).map_err(|error| format!("{error:#}"));
    let stored = merge::Stored { dtype, max_shard_bytes: args.max_shard_size };
    merge::merge(&student, &adapter, &args.output_dir, stored, tell, card)?;
    drop(shown);
    if let (Some(_), Some(trained_on)) = (&args.student, &trained_on)
        && !trained_on.is(&path)?
    {
        tracing::warn!(
            "{}: not the files that the adapter was trained on ({}); what was measured with those need not hold for this",
            path.display(),
            trained_on.model().display()
        );
    }
    if args.json {
        let merged = args.output_dir.display().to_string();
        console
            .json_line(&json!({ "merged": merged, "student": path.display().to_string(), "dtype": dtype.name() }))?;
    } else {
        console.line(format_args!("merged into {} ({dtype})", args.output_dir.display()))?;
        console.line(format_args!("elsewhere: {}", other_runtimes(&args.output_dir)))?;
        console.next(&after_merging(&args.output_dir))?;
    }
    Ok(Outcome::Done)
}

/// The student that an adapter names: by the file or folder that it was trained on, or in a folder of PEFT's by its base.
fn student_of(adapter: &Path, trained_on: Option<&AdapterStudent>) -> anyhow::Result<PathBuf> {
    let base = peft::read(adapter)?.config.base_model_name_or_path;
    let path = match trained_on {
        Some(trained_on) => Some(trained_on.model().to_owned()),
        None => base.as_ref().map(PathBuf::from),
    };
    let told = path.as_ref().map(|path| format!(": {}", path.display())).unwrap_or_default();
    let reason = match path {
        Some(path) if path.exists() => match trained_on.map_or(Ok(true), |trained_on| trained_on.is(&path))? {
            true => return Ok(path),
            false => "the student that it was trained on has changed since",
        },
        _ => "the student that it was trained on is not there",
    };
    let on_the_hub = base.filter(|base| is_hub_name(base)).map(|base| format!(", or --student hf:{base}"));
    Err(anyhow::Error::new(ErrorWithHelp {
        message: format!("{}: {reason}{told}", adapter.display()),
        help: format!("give the model that it was trained on: --student PATH{}", on_the_hub.unwrap_or_default()),
    }))
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
  aludel merge --adapter run/adapter --student student.gguf --output-dir merged --dtype f32
  aludel merge --adapter run/adapter --output-dir merged --max-shard-size 1GB

Other tools that load the folder, each with the commands of its documentation:
  vllm serve merged
  aludel export --model merged --type q8_0 --output merged.gguf
  llama-server -m merged.gguf --port 8080
  aludel export --model merged --type q4_k_m --format ollama --output ollama
  ollama create my-student -f ollama/Modelfile && ollama run my-student

In Python, transformers' AutoModelForCausalLM.from_pretrained(\"merged\") loads it, and
AutoTokenizer.from_pretrained(\"merged\") its tokenizer and chat template.";

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
