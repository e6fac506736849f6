//! LoRA adapters in PEFT's layout: `adapter_config.json` with PEFT's own fields, and `adapter_model.safetensors` with
//! PEFT's tensor names. Fitting an adapter to a model, and computing with it, is left to `aludel-model`.

mod config;
mod fields;
mod foreign;
mod names;
mod python_regex;
mod rules;
mod selection;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::folder::{is_model_folder, list_files};
use crate::json::read_json;
use crate::safetensors::{Weights, hf_metadata, save_file};
use crate::tensor::TensorSpec;
use crate::{atomic, manifest};

pub use crate::folder::ADAPTER_CONFIG_FILE_NAME as CONFIG_FILE_NAME;
pub use config::AdapterConfig;
pub use foreign::tensor as what_tensor_is;
pub use names::{
    LoraPart, Rows, TensorName, bias_name, lora_a_name, lora_b_name, magnitude_name, parse_name, trained_rows_name,
};
pub use rules::Rules;
pub use selection::{Bias, Patterns, TargetModules, TrainedTokens};

/// The adapter's tensors.
pub const WEIGHTS_FILE_NAME: &str = "adapter_model.safetensors";

/// An adapter on disk.
#[derive(Debug)]
pub struct Adapter {
    /// The folder it came from.
    pub path: PathBuf,
    /// Its config.
    pub config: AdapterConfig,
    /// Its tensors, under PEFT's names.
    pub weights: Weights,
}

impl Adapter {
    /// Which modules the adapter is for, and how. `default_targets` are PEFT's for the model's family.
    ///
    /// # Errors
    /// As [`Rules::new`].
    pub fn rules(&self, default_targets: &[&str]) -> Result<Rules> {
        Rules::new(&self.config, &self.path.join(CONFIG_FILE_NAME), default_targets)
    }
}

/// Opens an adapter folder. One with a manifest must be as it was written.
///
/// # Errors
/// [`Error::Altered`] naming a file that is not; [`Error::IncompleteFolder`] naming the missing file; [`Error::Malformed`] for another method than LoRA or a feature
/// that would change the adapter's result and is not supported; those of [`Weights::open_file`].
pub fn read(folder: &Path) -> Result<Adapter> {
    let about = fs::metadata(folder).map_err(Error::io(folder, "open the adapter folder"))?;
    if !about.is_dir() {
        let (found, wanted) =
            ("this is a file and no adapter folder", "give the folder that training saved the adapter in");
        return Err(Error::WrongKind { path: folder.to_owned(), found, wanted });
    }
    manifest::check(folder)?;
    let config_path = folder.join(CONFIG_FILE_NAME);
    if !aludel_files::is_there(&config_path) {
        let mend = if is_model_folder(folder) {
            "this is a whole model: give it as the model, without an adapter"
        } else {
            "give the folder that training saved the adapter in"
        };
        return Err(incomplete(folder, CONFIG_FILE_NAME, mend));
    }
    let fields: Map<String, Value> = read_json(&config_path)?;
    if let Some(reason) = foreign::config(&fields) {
        return Err(Error::Malformed { path: folder.to_owned(), place: CONFIG_FILE_NAME.to_owned(), reason });
    }
    let config = AdapterConfig::read(fields, &config_path)?;
    let weights_path = folder.join(WEIGHTS_FILE_NAME);
    if !aludel_files::is_there(&weights_path) {
        let mend = if folder.join("adapter_model.bin").exists() {
            "pickled weights can run code and are never loaded, so save the adapter as safetensors first"
        } else {
            "download it, or train the adapter again"
        };
        return Err(incomplete(folder, WEIGHTS_FILE_NAME, mend));
    }
    Ok(Adapter { path: folder.to_owned(), config, weights: Weights::open_file(weights_path)? })
}

/// Writes an adapter into `folder`, making it where it is missing. `bytes_of` is called once for each tensor.
///
/// Each file appears complete, the weights first; for a folder that appears complete, call this inside of
/// [`atomic::write_dir`].
///
/// # Errors
/// As [`save_file`], and [`Error::Malformed`] for a config that [`read`] would refuse.
pub fn write<'b, E: From<Error>>(
    folder: &Path,
    config: &AdapterConfig,
    tensors: &[TensorSpec],
    bytes_of: impl FnMut(&TensorSpec) -> Result<Cow<'b, [u8]>, E>,
) -> Result<(), E> {
    let config_path = folder.join(CONFIG_FILE_NAME);
    config.check(&config_path)?;
    fs::create_dir_all(folder).map_err(Error::io(folder, "create the adapter folder"))?;
    save_file(&folder.join(WEIGHTS_FILE_NAME), tensors, &hf_metadata(), bytes_of)?;
    Ok(atomic::write_json(&config_path, &config.to_sorted_json(&config_path)?)?)
}

fn incomplete(folder: &Path, wanted: &'static str, mend: &str) -> Error {
    Error::IncompleteFolder { path: folder.to_owned(), wanted, found: list_files(folder), mend: mend.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    fn tensors() -> Vec<TensorSpec> {
        vec![
            TensorSpec::new(lora_a_name("model.layers.0.self_attn.q_proj"), Dtype::F32, [2, 4]),
            TensorSpec::new(lora_b_name("model.layers.0.self_attn.q_proj"), Dtype::F32, [4, 2]),
        ]
    }

    fn zeros(tensor: &TensorSpec) -> Result<Cow<'static, [u8]>> {
        Ok(Cow::Owned(vec![0; tensor.byte_count().unwrap()]))
    }

    #[test]
    fn an_adapter_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter");
        let config = AdapterConfig { r: 2, lora_alpha: 4.0, ..AdapterConfig::default() };
        write(&path, &config, &tensors(), zeros).unwrap();
        let adapter = read(&path).unwrap();
        assert_eq!(adapter.config, config);
        let names: Vec<&str> = adapter.weights.names().collect();
        assert_eq!(names, [&tensors()[0].name, &tensors()[1].name]);
        assert_eq!(adapter.weights.metadata()["format"], "pt");
    }

    #[test]
    fn a_folder_that_is_no_adapter_says_what_it_is() {
        fn check(files: &[(&str, &str)], wanted: &[&str]) {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                fs::write(folder.path().join(name), text).unwrap();
            }
            let message = read(folder.path()).unwrap_err().to_string();
            for part in wanted {
                assert!(message.contains(part), "{message}\nlacks {part}");
            }
        }
        let lora = (CONFIG_FILE_NAME, r#"{"peft_type": "LORA", "r": 8}"#);
        check(&[], &["no adapter_config.json", "nothing"]);
        check(&[("config.json", "{}")], &["this is a whole model"]);
        check(&[lora], &["no adapter_model.safetensors", "download it"]);
        check(&[lora, ("adapter_model.bin", "")], &["never loaded"]);
        check(&[(CONFIG_FILE_NAME, r#"{"peft_type": "IA3", "r": 8}"#)], &["peft_type", "IA3", "LORA"]);
        check(&[(CONFIG_FILE_NAME, r#"{"peft_type": "LORA", "r": 0}"#)], &["\"r\"", "0", "1 or more"]);
        check(&[(CONFIG_FILE_NAME, r#"{"peft_type": "LORA", "r": 8, "lora_bias": true}"#)], &["lora_bias"]);
    }
}
