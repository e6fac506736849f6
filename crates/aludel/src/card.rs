//! The model card: `README.md` of an adapter and of a merged model, as the Hugging Face Hub shows it. It names the base model, the training
//! data and how to load the model. Paths of this machine and keys are not included. Tools that load the folder ignore the file.

use crate::humanize::{grouped, held_out_loss, train_loss};
use crate::version::{COMMIT, processor};
use aludel_distill::settings::Recipe;
use aludel_distill::train::{Started, Summary};
use aludel_formats::{atomic, gguf, peft};
use aludel_kernels::Isa;
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Component, Path};
use toml::{Table, Value};

/// The card's name in its folder.
const FILE_NAME: &str = "README.md";
/// The part of an adapter's card that a merged model's takes over.
const TRAINING: &str = "## Training";
/// Names of licences are short words; what is longer is something else.
const LONGEST_LICENCE: usize = 40;

/// Writes the card of an adapter that was just trained.
///
/// # Errors
/// The adapter cannot be read, or the card not be written.
pub(crate) fn write_for_adapter(
    adapter: &Path,
    recipe: &Recipe,
    started: &Started,
    summary: &Summary,
) -> anyhow::Result<()> {
    let student = recipe.student_model()?;
    let base = Base::of(adapter, student)?;
    let sets: Vec<String> = recipe.data.files.iter().map(|file| name_of(file)).collect();
    let mut text = base.front_matter("peft", &["lora", "aludel", "distillation"], &recipe.data.files);
    let Base { label, hub, .. } = &base;
    let kind = if recipe.lora.use_dora { "DoRA" } else { "LoRA" };
    let _ = writeln!(text, "# {kind} adapter for {}\n", code(label));
    let _ = writeln!(text, "It was trained on traces with Aludel and lies in PEFT's layout.\n");
    let _ = writeln!(text, "{TRAINING}\n\n| | |\n| --- | --- |");
    let mut fact = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {value} |");
    };
    fact("data", sets.iter().map(|name| code(name)).collect::<Vec<_>>().join(", "));
    fact("rows", rows(started));
    fact("steps", format!("{} of {}", grouped(summary.steps), grouped(summary.total_steps)));
    fact("tokens", grouped(summary.tokens));
    fact("trained parameters", grouped(started.trained_parameters));
    if let Some(loss) = train_loss(summary.train_loss, summary.final_train_loss) {
        fact("train loss", loss);
    }
    if let Some(loss) = held_out_loss(summary.eval_loss_before, summary.eval_loss) {
        fact("loss on rows held back", loss);
    }
    // Of a run the instruction set is settled, and has a name of its own.
    let named = serde_json::to_value(recipe.student.instruction_set)?;
    let isa = named.as_str().filter(|name| *name != "auto").unwrap_or(Isa::detect().name());
    let processor = processor().map_or_else(String::new, |name| format!("{}, ", code(&name)));
    fact("processor", format!("{processor}{isa}, products in {}", recipe.student.computed_in()));
    let commit = COMMIT.map_or_else(String::new, |commit| format!(", commit {commit}"));
    fact("version", format!("Aludel {}{commit}", env!("CARGO_PKG_VERSION")));
    let _ = writeln!(text, "\nSettings:\n\n```toml\n{}```\n", settings(recipe)?);
    let named = hub.as_deref().unwrap_or("BASE");
    let resize = match recipe.student.add_tokens.is_empty() {
        true => "",
        false => "model.resize_token_embeddings(len(tokenizer), mean_resizing=False)\n",
    };
    let _ = write!(
        text,
        "## Loading\n\nWith PEFT, from the folder that holds this file (`ADAPTER`{}):\n\n\
         ```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
         tokenizer = AutoTokenizer.from_pretrained(\"ADAPTER\")\n\
         model = AutoModelForCausalLM.from_pretrained(\"{named}\")\n{resize}\
         model = PeftModel.from_pretrained(model, \"ADAPTER\")\n```\n\n\
         With Aludel, `STUDENT` being the model that it was trained on (a file, a folder, or `hf:owner/name`):\n\n\
         ```\naludel chat --model STUDENT --adapter ADAPTER\n\
         aludel merge --student STUDENT --adapter ADAPTER --output-dir merged\n```\n",
        if hub.is_none() { "; `BASE` is the folder or the Hub's name of the model that it was trained on" } else { "" },
    );
    Ok(atomic::write_bytes(&adapter.join(FILE_NAME), text.as_bytes())?)
}

/// Writes the card of a merged model. What its adapter's card says of the training is taken over.
///
/// # Errors
/// The adapter cannot be read, or the card not be written.
pub(crate) fn write_for_merged(merged: &Path, adapter: &Path, student: &Path, dtype: &str) -> anyhow::Result<()> {
    let base = Base::of(adapter, student)?;
    let of_adapter = aludel_files::read_to_string(adapter.join(FILE_NAME), aludel_files::SMALL).unwrap_or_default();
    let mut text = base.front_matter("transformers", &["aludel", "distillation"], &[]);
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(text, "# {} with its adapter merged\n", code(&base.label));
    let _ = writeln!(
        text,
        "A LoRA adapter and the model that it was trained on, made one by Aludel {version}; weights are {dtype}.\n"
    );
    if let Some(training) = training(&of_adapter) {
        let _ = writeln!(text, "{training}\n");
    }
    let _ = write!(
        text,
        "## Loading\n\nWith transformers, from the folder that holds this file (`MODEL`):\n\n\
         ```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
         tokenizer = AutoTokenizer.from_pretrained(\"MODEL\")\n\
         model = AutoModelForCausalLM.from_pretrained(\"MODEL\")\n\
         messages = [{{\"role\": \"user\", \"content\": \"What is 17 * 24?\"}}]\n\
         inputs = tokenizer.apply_chat_template(\n    \
         messages, add_generation_prompt=True, return_tensors=\"pt\", return_dict=True\n)\n\
         print(tokenizer.decode(model.generate(**inputs, max_new_tokens=500)[0]))\n```\n\n\
         With Aludel:\n\n```\naludel chat --model MODEL\n```\n",
    );
    Ok(atomic::write_bytes(&merged.join(FILE_NAME), text.as_bytes())?)
}

/// The model that an adapter is for, as far as others know it, too.
struct Base {
    /// Its name on the Hub, if it has one.
    hub: Option<String>,
    /// What to call it.
    label: String,
    licence: Option<String>,
}

impl Base {
    fn of(adapter: &Path, student: &Path) -> anyhow::Result<Base> {
        let named = peft::read(adapter)?.config.base_model_name_or_path;
        let hub = named.as_deref().and_then(hub_name).or_else(|| hub_name(&student.to_string_lossy()));
        Ok(Base { label: hub.clone().unwrap_or_else(|| name_of(student)), hub, licence: licence(student) })
    }

    /// What the Hub reads. Each value is a string of JSON, which YAML takes as it is.
    fn front_matter(&self, library: &str, tags: &[&str], data: &[std::path::PathBuf]) -> String {
        let mut lines = vec!["---".to_owned()];
        lines.extend(self.hub.iter().map(|name| format!("base_model: {}", json!(name))));
        lines.push(format!("library_name: {library}"));
        lines.push("pipeline_tag: text-generation".to_owned());
        lines.extend(self.licence.iter().map(|licence| format!("license: {licence}")));
        let sets: Vec<String> = data.iter().filter_map(|file| hub_name(&file.to_string_lossy())).collect();
        if !sets.is_empty() {
            lines.push("datasets:".to_owned());
            lines.extend(sets.iter().map(|name| format!("- {}", json!(name))));
        }
        lines.push("tags:".to_owned());
        lines.extend(tags.iter().map(|tag| format!("- {tag}")));
        lines.push("---\n\n".to_owned());
        lines.join("\n")
    }
}

/// `owner/name` of a name on the Hub, or of a path in its cache; none for other paths.
fn hub_name(text: &str) -> Option<String> {
    let is_word = |word: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !word.is_empty() && !word.starts_with(['.', '-']) && word.chars().all(is_plain)
    };
    let cached = Path::new(text).components().find_map(|part| {
        let Component::Normal(name) = part else { return None };
        let name = name.to_str()?;
        let name = name.strip_prefix("models--").or_else(|| name.strip_prefix("datasets--"))?;
        name.split_once("--").filter(|(owner, name)| is_word(owner) && is_word(name))
    });
    let plain = || {
        let name = text.strip_prefix("hf:").unwrap_or(text);
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let found = name.split_once('/').filter(|(owner, name)| is_word(owner) && is_word(name))?;
        // A folder of this name is that folder.
        (text.starts_with("hf:") || !aludel_files::is_there(text)).then_some(found)
    };
    let (owner, name) = cached.or_else(plain)?;
    Some(format!("{owner}/{name}"))
}

/// The name of a file or folder, without its parent.
fn name_of(path: &Path) -> String {
    hub_name(&path.to_string_lossy())
        .unwrap_or_else(|| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// The licence that the student's own files name.
pub(crate) fn licence(student: &Path) -> Option<String> {
    let named = if student.is_dir() {
        let card = aludel_files::read_to_string(student.join(FILE_NAME), aludel_files::SMALL).ok()?;
        let front = card.strip_prefix("---\n")?.split_once("\n---")?.0.to_owned();
        front.lines().find_map(|line| line.strip_prefix("license:")).map(str::to_owned)?
    } else {
        gguf::File::open(student).ok()?.metadata().find::<&str>("general.license").ok()??.to_owned()
    };
    let named = named.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    (!named.is_empty() && named.len() <= LONGEST_LICENCE && named.chars().all(is_word)).then_some(named)
}

fn rows(started: &Started) -> String {
    let outcomes = &started.outcomes;
    let bad: u64 = outcomes.records.bad.iter().map(|bad| bad.rows).sum();
    let left_out =
        [(outcomes.too_long, "too long"), (outcomes.unsupervised, "without a token to train on"), (bad, "unreadable")];
    let left_out: Vec<String> =
        left_out.iter().filter(|(rows, _)| *rows > 0).map(|(rows, why)| format!("{} {why}", grouped(*rows))).collect();
    let left_out = if left_out.is_empty() { String::new() } else { format!("; left out: {}", left_out.join(", ")) };
    format!("{} trained on, {} held back{left_out}", grouped(started.train_rows), grouped(started.eval_rows))
}

/// The settings of the training, without what is only true here.
fn settings(recipe: &Recipe) -> anyhow::Result<String> {
    let mut table = recipe.to_table()?;
    table.retain(|section, _| ["student", "lora", "train", "data"].contains(&section));
    let here = [
        ("student", "model"),
        ("student", "threads"),
        ("train", "output_dir"),
        ("train", "init_adapter"),
        ("train", "logging_dir"),
        ("data", "files"),
        ("data", "eval_files"),
    ];
    for (section, key) in here {
        if let Some(Value::Table(settings)) = table.get_mut(section) {
            settings.remove(key);
        }
    }
    Ok(fenced(&toml::to_string::<Table>(&table)?))
}

/// A text that ends no fence.
fn fenced(text: &str) -> String {
    text.replace("```", "` ` `")
}

/// An untrusted name as inline code, without markup.
fn code(name: &str) -> String {
    let plain = |c: char| if c == '`' || c == '|' || c.is_control() { '_' } else { c };
    format!("`{}`", name.chars().map(plain).collect::<String>())
}

/// What a card says of the training: from its heading to the next.
fn training(card: &str) -> Option<&str> {
    let start = card.starts_with(TRAINING).then_some(0).or_else(|| Some(card.find(&format!("\n{TRAINING}\n"))? + 1))?;
    let part = &card[start..];
    Some(part[..part.find("\n## ").unwrap_or(part.len())].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_hub_are_told_from_paths() {
        for (text, name) in [
            ("HuggingFaceTB/SmolLM2-135M-Instruct", Some("HuggingFaceTB/SmolLM2-135M-Instruct")),
            ("hf:owner/name:train", Some("owner/name")),
            ("/home/me/.cache/huggingface/hub/models--owner--name/snapshots/abc", Some("owner/name")),
            ("/home/me/hub/datasets--owner--na.me-1/snapshots/abc/train.jsonl", Some("owner/na.me-1")),
            ("/home/me/student.gguf", None),
            ("./student", None),
            ("../student", None),
            ("a/b/c", None),
            ("owner/na me", None),
            ("student.gguf", None),
            ("owner/\"name", None),
        ] {
            assert_eq!(hub_name(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn a_licence_is_taken_from_a_folder_s_card_and_is_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let check = |card: &str, wanted: Option<&str>| {
            std::fs::write(folder.path().join(FILE_NAME), card).unwrap();
            assert_eq!(licence(folder.path()).as_deref(), wanted, "{card}");
        };
        check("---\nlanguage: en\nlicense: Apache-2.0\n---\n# Model\n", Some("apache-2.0"));
        check("---\nlanguage: en\n---\nlicense: mit\n", None);
        check("---\nlicense: see below, or ask\n---\n", None);
        check("no front matter", None);
    }

    #[test]
    fn the_training_s_part_ends_at_the_next_heading() {
        assert_eq!(training("# A\n\n## Training\n\nx\n\n### y\n\n## Loading\nz"), Some("## Training\n\nx\n\n### y"));
        assert_eq!(training("# A\n\n## Training\n\nx\n"), Some("## Training\n\nx"));
        assert_eq!(training("# A\nTraining"), None);
    }

    #[test]
    fn a_stranger_s_name_is_no_markup() {
        assert_eq!(code("a`b|c\n# d"), "`a_b_c_# d`");
    }
}
