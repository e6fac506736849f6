//! What a GGUF file says of itself for people: name, size, licence and lineage, as `general.*`, and the file's name by convention. What
//! the model's own files say is kept.

use aludel_formats::gguf::{Metadata, Value};

use super::file_type::FileType;

/// Where a model comes from, as far as its files tell.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    /// The name of the exported model.
    pub name: String,
    /// The licence, a word such as `apache-2.0`.
    pub license: Option<String>,
    /// The model that an adapter was trained on: its name on the Hub, or the name of its file or folder.
    pub base_model: Option<String>,
}

/// Keys that describe the file and not the model.
const OF_THE_FILE: [&str; 6] = [
    "general.architecture",
    "general.type",
    "general.file_type",
    "general.quantization_version",
    "general.alignment",
    "general.size_label",
];

/// The version of the layout of quantised blocks.
const QUANTIZATION_VERSION: u32 = 2;

/// The keys under `general.`, of which those of an exported GGUF file are kept.
pub(super) fn keys(
    architecture: &str,
    file_type: FileType,
    parameters: u64,
    lineage: &Lineage,
    source: Option<&Metadata>,
) -> Vec<(String, Value)> {
    // A file that says what it is called is not renamed by where it lies.
    let of_source = || source?.find::<&str>("general.name").ok()?.filter(|_| lineage.base_model.is_none());
    let name = of_source().unwrap_or(&lineage.name);
    let mut keys: Vec<(String, Value)> = vec![
        ("general.architecture".to_owned(), architecture.into()),
        ("general.type".to_owned(), "model".into()),
        ("general.name".to_owned(), name.into()),
        ("general.size_label".to_owned(), size_label(parameters).into()),
        ("general.file_type".to_owned(), file_type.number().into()),
        ("general.quantization_version".to_owned(), QUANTIZATION_VERSION.into()),
    ];
    keys.extend(lineage.license.iter().map(|license| ("general.license".to_owned(), license.as_str().into())));
    if let Some(base) = &lineage.base_model {
        let (organization, name) = match base.split_once('/') {
            Some((organization, name)) => (Some(organization), name),
            None => (None, base.as_str()),
        };
        keys.push(("general.base_model.count".to_owned(), 1u32.into()));
        keys.push(("general.base_model.0.name".to_owned(), name.into()));
        if let Some(organization) = organization {
            keys.push(("general.base_model.0.organization".to_owned(), organization.into()));
            keys.push(("general.base_model.0.repo_url".to_owned(), format!("https://huggingface.co/{base}").into()));
        }
    }
    for (key, value) in source.into_iter().flat_map(Metadata::iter) {
        // Of a model with an adapter merged, the file's names and its parents are those of another model.
        let is_of_other = lineage.base_model.is_some() && !is_of_any_version(key);
        let is_kept = key.starts_with("general.") && !OF_THE_FILE.contains(&key) && !is_of_other;
        if is_kept && !keys.iter().any(|(known, _)| known == key) {
            keys.push((key.to_owned(), value.clone()));
        }
    }
    keys
}

/// Keys that stay true when a model is trained further.
fn is_of_any_version(key: &str) -> bool {
    ["general.license", "general.languages", "general.tags"].iter().any(|prefix| key.starts_with(prefix))
}

/// The size of a model in two digits or more, `135M`.
pub(super) fn size_label(parameters: u64) -> String {
    let count = parameters as f64;
    let (scaled, suffix) = match count {
        1e12.. => (count / 1e12, "T"),
        1e9.. => (count / 1e9, "B"),
        1e6.. => (count / 1e6, "M"),
        _ => (count / 1e3, "K"),
    };
    let digits = usize::from(scaled < 9.5);
    format!("{scaled:.digits$}{suffix}")
}

/// The file's name by convention: `SmolLM2-135M-Instruct-Q4_K_M.gguf`.
pub fn file_name(name: &str, parameters: u64, file_type: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    let name = if name.is_empty() { "model".to_owned() } else { name };
    let has_size = name.split(['-', '_']).any(is_size);
    let size = if has_size { String::new() } else { format!("-{}", size_label(parameters)) };
    format!("{name}{size}-{file_type}.gguf")
}

/// The name of a file without the type at its end: `Model-1B.Q4_K_M` is a file of `Model-1B`.
pub fn without_type(stem: &str) -> &str {
    let Some((name, last)) = stem.rsplit_once(['.', '-']) else { return stem };
    let upper = last.to_ascii_uppercase();
    let is_block = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains('_');
    let is_type = matches!(upper.as_str(), "F32" | "F16" | "BF16")
        || upper.strip_prefix("IQ").or_else(|| upper.strip_prefix('Q')).is_some_and(is_block);
    if is_type && !name.is_empty() { name } else { stem }
}

/// Whether a part of a name is a size, as `135M` or `0.5b`.
fn is_size(part: &str) -> bool {
    let number = part.strip_suffix(['K', 'M', 'B', 'T', 'k', 'm', 'b', 't']);
    number.is_some_and(|number| number.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_digits() {
        let labels = [134_515_008, 494_032_768, 1_543_714_304, 7_615_616_512, 70_553_706_496, 20_000].map(size_label);
        assert_eq!(labels, ["135M", "494M", "1.5B", "7.6B", "71B", "20K"]);
    }

    #[test]
    fn file_names_follow_the_convention() {
        assert_eq!(file_name("SmolLM2-135M-Instruct", 134_515_008, "F16"), "SmolLM2-135M-Instruct-F16.gguf");
        assert_eq!(file_name("merged", 134_515_008, "Q4_K_M"), "merged-135M-Q4_K_M.gguf");
        assert_eq!(file_name("my model/α:", 20_000, "Q8_0"), "my-model-α-20K-Q8_0.gguf");
        assert_eq!(file_name("..", 20_000, "Q8_0"), "model-20K-Q8_0.gguf");
    }

    #[test]
    fn the_type_of_a_source_is_no_part_of_a_name() {
        for (stem, name) in [
            ("SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct"),
            ("qwen2.5-0.5b-instruct-q4_k_m", "qwen2.5-0.5b-instruct"),
            ("Model-BF16", "Model"),
            ("Model-IQ4_NL", "Model"),
            ("Model-Q4", "Model-Q4"),
            ("gemma-3-270m", "gemma-3-270m"),
            ("q", "q"),
            (".F16", ".F16"),
        ] {
            assert_eq!(without_type(stem), name, "{stem}");
        }
    }

    #[test]
    fn a_base_on_the_hub_is_named_with_its_page() {
        let lineage = Lineage {
            name: "run".to_owned(),
            license: Some("mit".to_owned()),
            base_model: Some("owner/Base-1B".to_owned()),
        };
        let keys = keys("llama", FileType::Q8_0, 1_000_000_000, &lineage, None);
        let of = |key: &str| keys.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
        assert_eq!(of("general.base_model.0.name"), Some("Base-1B".into()));
        assert_eq!(of("general.base_model.0.repo_url"), Some("https://huggingface.co/owner/Base-1B".into()));
        assert_eq!(of("general.file_type"), Some(7u32.into()));
        assert_eq!(of("general.size_label"), Some("1.0B".into()));
    }
}
