//! `aludel export`: the options that turn a model, or a base with its adapter, into a file that llama.cpp and Ollama load.

use crate::card::licence;
use crate::console::Console;
use crate::hub::local_model;
use crate::humanize::{bytes, grouped};
use crate::next_command::after_exporting;
use crate::progress::{Progress, WorkKind};
use crate::report::{ErrorWithHelp, Outcome};
use crate::run_folder::adapter_if_named;
use crate::shell_path::shell_quoted;
use crate::value_parser::integer;
use aludel_distill::export::adapter::export_adapter;
use aludel_distill::export::file_type::FileType;
use aludel_distill::export::general::{Lineage, file_name, without_type};
use aludel_distill::export::ollama::{MODELFILE, export_ollama};
use aludel_distill::export::{self, ExportOptions, Exported, Parity};
use aludel_distill::merge;
use aludel_formats::Dtype;
use aludel_model::student::Student;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The options of `aludel export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// Model: a Hugging Face model folder, a GGUF file, or hf:owner/name
    #[arg(long, value_name = "PATH")]
    pub(crate) model: PathBuf,

    /// Adapter folder to merge on the way, or the folder of a run
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,

    /// What to write
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Gguf)]
    pub(crate) format: Format,

    /// How weights are stored [default: the model's own type, or bf16 if it is quantised]
    #[arg(long = "type", alias = "outtype", value_name = "TYPE", value_enum)]
    pub(crate) file_type: Option<StoredType>,

    /// File to create, or an existing folder, in which the file is named after the model; for Ollama, the folder to create
    #[arg(long, alias = "outfile", value_name = "PATH")]
    pub(crate) output: PathBuf,

    /// Keep the file without comparing it with the model
    #[arg(long)]
    pub(crate) no_gate: bool,

    /// Number of threads; 0 uses all cores
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = integer::<usize>(0..=1024))]
    pub(crate) threads: usize,

    /// Print a summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One GGUF file
    Gguf,
    /// A folder for `ollama create`: GGUF file and Modelfile
    Ollama,
    /// The adapter alone, as a GGUF file for llama.cpp's --lora
    Adapter,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(non_camel_case_types, reason = "these are the names that every GGUF tool prints")]
#[value(rename_all = "snake_case")]
pub(crate) enum StoredType {
    /// 32-bit floats
    F32,
    /// 16-bit floats, 5 bits of exponent
    F16,
    /// 16-bit floats, 8 bits of exponent
    #[value(name = "bf16")]
    BF16,
    /// 8.5 bits a weight
    #[value(name = "q8_0")]
    Q8_0,
    /// 6.6 bits
    #[value(name = "q6_k")]
    Q6_K,
    /// 5.7 bits, more for sensitive tensors
    #[value(name = "q5_k_m")]
    Q5_K_M,
    /// 6 bits
    #[value(name = "q5_1")]
    Q5_1,
    /// 5.5 bits
    #[value(name = "q5_0")]
    Q5_0,
    /// 4.8 bits, more for sensitive tensors
    #[value(name = "q4_k_m")]
    Q4_K_M,
    /// 5 bits
    #[value(name = "q4_1")]
    Q4_1,
    /// 4.5 bits
    #[value(name = "q4_0")]
    Q4_0,
}

impl From<StoredType> for FileType {
    fn from(stored: StoredType) -> Self {
        match stored {
            StoredType::F32 => Self::F32,
            StoredType::F16 => Self::F16,
            StoredType::BF16 => Self::BF16,
            StoredType::Q8_0 => Self::Q8_0,
            StoredType::Q6_K => Self::Q6_K,
            StoredType::Q5_K_M => Self::Q5_K_M,
            StoredType::Q5_1 => Self::Q5_1,
            StoredType::Q5_0 => Self::Q5_0,
            StoredType::Q4_K_M => Self::Q4_K_M,
            StoredType::Q4_1 => Self::Q4_1,
            StoredType::Q4_0 => Self::Q4_0,
        }
    }
}

/// Exports, and says what and where.
pub(crate) fn run(args: &ExportArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let path = local_model(&args.model)?;
    let adapter = adapter_if_named(args.adapter.as_deref())?;
    let student = Student::open(&path)?;
    if args.format == Format::Adapter {
        return run_adapter(args, &student, adapter.as_deref(), console);
    }
    let file_type = match args.file_type {
        Some(stored) => stored.into(),
        None => match merge::default_dtype(&student)? {
            Dtype::F32 => FileType::F32,
            Dtype::F16 => FileType::F16,
            _ => FileType::BF16,
        },
    };
    let lineage = lineage(&student, adapter.is_some());
    let parameters = export::parameters(&student, adapter.as_deref())?;
    let file_name = file_name(&lineage.name, parameters, file_type.name());
    let options = ExportOptions { file_type, lineage, has_gate: !args.no_gate, threads: threads(args.threads) };
    let shown = Progress::new();
    let tell = &mut |progress| match progress {
        export::Progress::Writing(done, total) => shown.weights(WorkKind::Writing, done, total),
        export::Progress::Comparing(done, total) => shown.tokens(WorkKind::Comparing, done, total),
    };
    let (output, exported) = match args.format {
        Format::Ollama => {
            let folder = args.output.clone();
            let exported = export_ollama(&student, adapter.as_deref(), &folder, &file_name, &options, tell)?;
            (folder, exported)
        }
        Format::Gguf | Format::Adapter => {
            let output = output(&args.output, &file_name)?;
            let exported = export::export_gguf(&student, adapter.as_deref(), &output, &options, tell)?;
            (output, exported)
        }
    };
    drop(shown);
    if args.json {
        console.json_line(&json!({
            "output": output.display().to_string(),
            "model": path.display().to_string(),
            "adapter": adapter.map(|adapter| adapter.display().to_string()),
            "type": file_type.name(),
            "bytes": exported.bytes,
            "parameters": exported.parameters,
            "parity": exported.parity,
            "notes": exported.notes,
        }))?;
        return Ok(Outcome::Done);
    }
    tell_exported(&exported, &output, file_type, console)?;
    match args.format {
        Format::Ollama => console.line(format_args!("elsewhere: {}", in_ollama(&output)))?,
        Format::Gguf | Format::Adapter => console.next(&after_exporting(&output))?,
    }
    Ok(Outcome::Done)
}

/// Exports an adapter alone.
fn run_adapter(
    args: &ExportArgs,
    student: &Student,
    adapter: Option<&Path>,
    console: &mut Console,
) -> anyhow::Result<Outcome> {
    let wrong = |message: &str, help: &str| {
        Err(anyhow::Error::new(ErrorWithHelp { message: message.to_owned(), help: help.to_owned() }))
    };
    let Some(adapter) = adapter else {
        return wrong("--format adapter needs an adapter", "give its folder: --adapter DIR");
    };
    if args.file_type.is_some_and(|file_type| file_type != StoredType::F32) {
        return wrong("--format adapter stores F32 alone", "leave out --type");
    }
    let lineage = lineage(student, true);
    let output = output(&args.output, &format!("{}-F32-LoRA.gguf", lineage.name))?;
    let exported = export_adapter(student, adapter, &output, &lineage)?;
    if args.json {
        console.json_line(&json!({
            "output": output.display().to_string(),
            "model": student.path.display().to_string(),
            "adapter": adapter.display().to_string(),
            "type": FileType::F32.name(),
            "bytes": exported.bytes,
            "parameters": exported.parameters,
            "linears": exported.linears,
        }))?;
    } else {
        let (linears, size) = (exported.linears, bytes(exported.bytes));
        console.line(format_args!("exported to {} (adapter of {linears} linear layers, {size})", output.display()))?;
        console.line(format_args!("elsewhere: llama-cli -m MODEL.gguf --lora {}", shell_quoted(&output)))?;
    }
    Ok(Outcome::Done)
}

fn tell_exported(exported: &Exported, output: &Path, file_type: FileType, console: &mut Console) -> anyhow::Result<()> {
    let size = bytes(exported.bytes);
    console.line(format_args!("exported to {} ({}, {size})", output.display(), file_type.name()))?;
    match &exported.parity {
        Some(parity) => console.line(format_args!("parity: {}", parity_line(parity)))?,
        None => console.line("parity: not compared with the model (--no-gate)")?,
    }
    for note in &exported.notes {
        console.line(format_args!("note: {note}"))?;
    }
    Ok(())
}

/// The commands that make a folder a model of Ollama's.
fn in_ollama(folder: &Path) -> String {
    let modelfile = shell_quoted(&folder.join(MODELFILE));
    format!("ollama create student -f {modelfile} && ollama run student")
}

fn parity_line(parity: &Parity) -> String {
    format!(
        "the same ids for {} texts and {} conversations; KL {:.1e} nats per token over {} tokens (at most {:.1e})",
        parity.texts,
        parity.conversations,
        parity.kl,
        grouped(parity.tokens as u64),
        parity.kl_bound
    )
}

fn threads(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    }
}

/// Where the model comes from. One with an adapter is a model of its own, whose base is this one.
fn lineage(student: &Student, is_adapted: bool) -> Lineage {
    let hub = student.hub_name();
    let of_path = || {
        let path = &student.path;
        let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let name = name.unwrap_or_default().to_string_lossy();
        if path.is_dir() { name.into_owned() } else { without_type(&name).to_owned() }
    };
    let tail = hub.as_deref().and_then(|hub| hub.split_once('/')).map(|(_, name)| name.to_owned());
    let name = tail.unwrap_or_else(of_path);
    let license = licence(&student.path);
    match is_adapted {
        false => Lineage { name, license, base_model: None },
        true => Lineage { name: format!("{name}-distilled"), license, base_model: Some(hub.unwrap_or(name)) },
    }
}

/// The file to write: the one that is named, or one in the folder that is named.
fn output(named: &Path, file_name: &str) -> anyhow::Result<PathBuf> {
    let output = match named {
        folder if folder.is_dir() => folder.join(file_name),
        file if file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) => file.to_owned(),
        other => {
            return Err(anyhow::Error::new(ErrorWithHelp {
                message: format!("{}: neither an existing folder nor the name of a GGUF file", other.display()),
                help: format!("end the name with .gguf, or create the folder, where the file will be {file_name}"),
            }));
        }
    };
    if aludel_files::is_there(&output) {
        return Err(anyhow::Error::new(ErrorWithHelp {
            message: format!("{}: the file exists already, and is not overwritten", output.display()),
            help: "remove it, or name another --output".to_owned(),
        }));
    }
    Ok(output)
}

const EXAMPLES: &str = "\
Examples:
  aludel export --model merged --type q4_k_m --output student-Q4_K_M.gguf
  aludel export --model student.gguf --adapter run/adapter --type q8_0 --output .
  aludel export --model hf:HuggingFaceTB/SmolLM2-135M-Instruct --type f16 --output .
  aludel export --model merged --type q4_k_m --format ollama --output ollama
  aludel export --model student.gguf --adapter run/adapter --format adapter --output adapter.gguf

Other tools that load the file, each with the commands of its documentation:
  llama-cli -m student-Q4_K_M.gguf
  llama-server -m student-Q4_K_M.gguf --port 8080
  llama-cli -m student.gguf --lora adapter.gguf
  ollama create student -f ollama/Modelfile && ollama run student";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::parsed;

    #[test]
    fn types_have_the_names_of_llama_cpp() {
        for file_type in FileType::ALL {
            let name = file_type.name().to_lowercase();
            let args: ExportArgs = parsed(&["--model", "m", "--output", "o.gguf", "--type", &name]);
            assert_eq!(args.file_type.map(FileType::from), Some(file_type), "{name}");
        }
    }

    #[test]
    fn the_output_is_a_file_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("a.gguf");
        assert_eq!(output(&named, "b.gguf").unwrap(), named);
        assert_eq!(output(folder.path(), "b.gguf").unwrap(), folder.path().join("b.gguf"));
        std::fs::write(&named, "").unwrap();
        assert!(output(&named, "b.gguf").unwrap_err().to_string().contains("exists already"));
        assert!(output(&folder.path().join("c"), "b.gguf").unwrap_err().to_string().contains("neither"));
    }
}
