//! What a student's files say of where the same weights lie on the Hugging Face Hub. Names that users give are settings; fetching by name
//! is another crate's work.

use std::path::Path;

use aludel_formats::gguf::Metadata;

/// Keys under which GGUF files name the repository that they were converted from, the surest first. `general.base_model.*` is not among
/// them: it names the parent that a model was fine-tuned from, whose weights are others.
const SOURCES: [&str; 4] =
    ["general.source.huggingface.repository", "general.source.repo_url", "general.source.url", "general.repo_url"];

/// Where names on the Hub are pages.
const PAGES: [&str; 2] = ["https://huggingface.co/", "https://hf.co/"];

/// Whether a text has the form of a model's name on the Hub, `owner/name`.
pub fn is_hub_name(text: &str) -> bool {
    const LONGEST: usize = 96;
    let is_part = |part: &str| {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        !part.is_empty() && part.len() <= LONGEST && part.chars().all(fits) && !part.starts_with(['.', '-'])
    };
    text.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

/// The repository that a GGUF file says it was converted from. Repositories of GGUF files do not count: other tools find no weights of
/// theirs there.
pub(crate) fn of_gguf(metadata: &Metadata) -> Option<String> {
    let named = SOURCES.iter().filter_map(|key| metadata.find::<&str>(key).ok().flatten());
    let mut names = named.filter_map(|value| {
        let page = PAGES.iter().find_map(|page| value.trim().strip_prefix(page));
        let name = page.unwrap_or(value.trim()).trim_end_matches('/').trim_end_matches("/tree/main");
        (is_hub_name(name) && !name.to_ascii_lowercase().ends_with("gguf")).then(|| name.to_owned())
    });
    names.next()
}

/// The name of a folder in the cache of Hugging Face's tools: `models--OWNER--NAME/snapshots/COMMIT`.
pub(crate) fn of_folder(folder: &Path) -> Option<String> {
    let snapshots = folder.parent().filter(|parent| parent.ends_with("snapshots"))?;
    let repository = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
    let name = repository.replacen("--", "/", 1);
    is_hub_name(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use aludel_formats::gguf::{File, Writer};

    use super::*;

    #[test]
    fn names_have_an_owner_and_are_no_paths() {
        for name in ["HuggingFaceTB/SmolLM2-135M-Instruct", "a/b", "o_1/n.2"] {
            assert!(is_hub_name(name), "{name}");
        }
        let long = format!("a/{}", "b".repeat(97));
        for other in ["gpt2", "/a/b", "a/b/c", "./b", "../b", "a/", "a b/c", "hf:a/b", "a/.b", "C:\\a/b", &long] {
            assert!(!is_hub_name(other), "{other}");
        }
    }

    #[test]
    fn a_gguf_file_names_where_it_was_converted_from() {
        let folder = tempfile::tempdir().unwrap();
        let of = |keys: &[(&str, &str)]| {
            let path = folder.path().join("a.gguf");
            let writer = keys.iter().fold(Writer::new(), |writer, (key, value)| writer.with(key, (*value).to_owned()));
            writer.write(&path, |_| Ok::<_, aludel_formats::Error>(Cow::Borrowed(&[][..]))).unwrap();
            of_gguf(File::open(&path).unwrap().metadata())
        };
        let repository = ("general.source.huggingface.repository", "a/source");
        let page = ("general.repo_url", "https://huggingface.co/a/page/");
        assert_eq!(of(&[page, repository]).as_deref(), Some("a/source"));
        assert_eq!(of(&[page]).as_deref(), Some("a/page"));
        for nothing in [
            ("general.base_model.0.repo_url", "https://huggingface.co/a/parent"),
            ("general.repo_url", "https://huggingface.co/somebody"),
            ("general.repo_url", "https://example.org/a/b"),
            ("general.repo_url", "https://huggingface.co/a/b-GGUF"),
            ("general.source.url", "https://huggingface.co/a/b/resolve/main/c"),
        ] {
            assert_eq!(of(&[nothing]), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_folder_of_the_cache_has_the_name_of_its_repository() {
        let of = |path: &str| of_folder(Path::new(path));
        let found = of("/home/me/hub/models--Hugging-Face--Smol--LM/snapshots/12fd");
        assert_eq!(found.as_deref(), Some("Hugging-Face/Smol--LM"));
        assert_eq!(of("/home/me/models--a--b"), None);
        assert_eq!(of("/home/me/hub/datasets--a--b/snapshots/12fd"), None);
    }
}
