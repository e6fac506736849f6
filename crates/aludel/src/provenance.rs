//! The provenance of a result, for the records of runs and evaluations and for reports: version, command line, machine. Arguments that
//! could hold a secret are left out.

use crate::version::{COMMIT, processor};
use aludel_distill::provenance::Provenance;

/// The provenance of results of this process.
pub(crate) fn current_provenance() -> Provenance {
    let command = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: COMMIT.map(str::to_owned),
        command: recorded(command),
        processor: processor(),
        threads: std::thread::available_parallelism().ok().map(usize::from),
        date: date(),
    }
}

/// The words of a command line, the program by its name alone, without what could be a secret.
fn recorded(words: impl Iterator<Item = String>) -> Vec<String> {
    let program =
        |word: String| std::path::Path::new(&word).file_name().map(|name| name.to_string_lossy().into_owned());
    let mut words = words;
    let first = words.next().and_then(program).into_iter();
    first.chain(words.map(|word| without_secrets(&word))).collect()
}

/// What a word says, up to where a secret may begin: keys belong into variables and files, but not everybody puts them there.
fn without_secrets(word: &str) -> String {
    const HIDDEN: &str = "…";
    let lower = word.to_ascii_lowercase();
    let is_named = ["authorization", "bearer ", "password", "secret", "header", "cookie", "api_key=", "api-key="];
    if is_named.iter().any(|name| lower.contains(name)) || ["sk-", "hf_"].iter().any(|start| lower.starts_with(start)) {
        let kept = word.split_once('=').map_or("", |(key, _)| key);
        return if kept.is_empty() { HIDDEN.to_owned() } else { format!("{kept}={HIDDEN}") };
    }
    match word.split_once("://") {
        None => word.to_owned(),
        Some((scheme, rest)) => {
            // Before an @ stands a password, behind a ? a key.
            let (address, query) = rest.split_once('?').map_or((rest, ""), |(address, _)| (address, "?…"));
            let end = address.find('/').unwrap_or(address.len());
            let host = address[..end].rsplit_once('@').map_or(&address[..end], |(_, host)| host);
            format!("{scheme}://{host}{}{query}", &address[end..])
        }
    }
}

/// The present time in UTC, to the second.
fn date() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let day = aludel_text::Date::from_unix_seconds(now as i64);
    let (hour, minute, second) = (now / 3600 % 24, now / 60 % 60, now % 60);
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day.year, day.month, day.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_recorded() {
        for (given, expected) in [
            ("--max-new-tokens", "--max-new-tokens"),
            ("--api-key-env", "--api-key-env"),
            ("--api-key-env=OPENAI_API_KEY", "--api-key-env=OPENAI_API_KEY"),
            ("train.learning_rate=2e-4", "train.learning_rate=2e-4"),
            ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
            ("https://me:hunter2@host/v1/a?key=1", "https://host/v1/a?…"),
            ("sk-live-123", "…"),
            ("trace.headers={Authorization=\"Bearer x\"}", "trace.headers=…"),
        ] {
            assert_eq!(without_secrets(given), expected);
        }
        let words = ["/opt/bin/aludel", "eval", "--model", "/models/a.gguf"].map(str::to_owned);
        assert_eq!(recorded(words.into_iter()), ["aludel", "eval", "--model", "/models/a.gguf"]);
    }
}
