//! `aludel doctor`: what this machine has, and whether a model, a data file or a teacher can be used; each with the reason where it
//! matters, and the remedy. `machine`, `files` and `server` look, one file each; this one prints.

mod files;
mod machine;
mod server;

use crate::console::{Console, harmless};
use crate::report::{Outcome, reason_and_mend};
use crate::table::Table;
use anstyle::Style;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;

/// The options of `aludel doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Also check a model: a GGUF file or a Hugging Face model folder
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,

    /// Also check data files, all of their rows
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,

    /// Also ask a server with an OpenAI-compatible API, such as http://host:8000/v1, for its models and one token
    #[arg(long, value_name = "URL")]
    teacher: Option<String>,

    /// With --teacher: the model that is asked for a token [default: the server's only one]
    #[arg(long, value_name = "NAME", requires = "teacher")]
    teacher_model: Option<String>,

    /// With --teacher: environment variable that holds the API key
    #[arg(long, value_name = "VAR", requires = "teacher")]
    api_key_env: Option<String>,

    /// With --teacher: file that holds the API key
    #[arg(long, value_name = "FILE", requires = "teacher", conflicts_with = "api_key_env")]
    api_key_file: Option<PathBuf>,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  aludel doctor
  aludel doctor --model student.gguf --data traces.jsonl
  aludel doctor --teacher http://127.0.0.1:8000/v1 --json

The exit code is 1 if something was found that would stop a run.";

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be, or only to be known.
    Ok,
    /// A run works, and not as well as it could.
    Warning,
    /// A run would fail.
    Error,
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    about: &'static str,
    level: Level,
    /// What was found.
    found: String,
    /// Why it matters; always there where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn ok(about: &'static str, found: impl Into<String>) -> Finding {
        Finding { about, level: Level::Ok, found: found.into(), why: None, mend: None }
    }

    fn warning(
        about: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding { level: Level::Warning, why: Some(why.into()), mend: Some(mend.into()), ..Finding::ok(about, found) }
    }

    fn error(
        about: &'static str,
        found: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding { level: Level::Error, ..Finding::warning(about, found, why, mend) }
    }

    fn failure(about: &'static str, found: impl Into<String>, error: &anyhow::Error) -> Finding {
        let (why, mend) = reason_and_mend(error);
        Finding { level: Level::Error, why: Some(why), mend, ..Finding::ok(about, found) }
    }
}

/// Looks, and prints what was found.
pub(crate) fn run(args: &DoctorArgs, console: &mut Console) -> anyhow::Result<Outcome> {
    let mut findings = machine::findings();
    if let Some(model) = &args.model {
        findings.extend(files::model(model));
    }
    if !args.data.is_empty() {
        findings.extend(files::data(&args.data));
    }
    if let Some(url) = &args.teacher {
        let key = match (&args.api_key_env, &args.api_key_file) {
            (Some(variable), _) => Some(crate::keys::key_from_variable(variable)?),
            (None, Some(file)) => Some(crate::keys::key_from_file(file)?),
            (None, None) => None,
        };
        findings.extend(server::findings(url, args.teacher_model.as_deref(), key));
    }
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if args.json {
        console.json_line(&json!({ "ok": worst < Level::Error, "findings": findings }))?;
    } else {
        print(&findings, console)?;
    }
    Ok(if worst < Level::Error { Outcome::Done } else { Outcome::Found })
}

fn print(findings: &[Finding], console: &mut Console) -> anyhow::Result<()> {
    let mut table = Table::new("").words("").words("");
    for finding in findings {
        let (mark, style) = match finding.level {
            Level::Ok => ("ok", Style::new()),
            Level::Warning => ("warning", Style::new().bold()),
            Level::Error => ("error", Style::new().bold()),
        };
        table.styled_row(style, [finding.about.to_owned(), mark.to_owned(), finding.found.clone()]);
    }
    table.print(console)?;
    for finding in findings.iter().filter(|finding| finding.level > Level::Ok) {
        console.line(format_args!(""))?;
        console.line(format_args!("{}: {}", finding.about, harmless(&finding.found)))?;
        for (label, text) in [("because", &finding.why), ("help", &finding.mend)] {
            if let Some(text) = text {
                console.line(format_args!("{label}: {}", harmless(text)))?;
            }
        }
    }
    Ok(())
}
