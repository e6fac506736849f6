//! An adapter that training starts from and the recipe must say the same, so that the recipe in a run folder is what was trained.
//! Whether the adapter fits the student is found out where it is loaded.

use std::collections::BTreeSet;
use std::path::Path;

use aludel_model::adapter::{Adapter, resolve_targets};
use aludel_model::config::Config;

use crate::error::{Error, Result};
use crate::settings::{LoraSettings, TargetModules};

/// Refuses settings of `[lora]` that are not those of the adapter.
///
/// # Errors
/// [`Error::InitAdapter`] names the first that differs, with what would be right.
pub(crate) fn check(adapter: &Adapter, model: &Config, folder: &Path, lora: &LoraSettings) -> Result<()> {
    let config = adapter.config();
    let names = match &lora.target_modules {
        TargetModules::AllLinear => vec!["all-linear".to_owned()],
        TargetModules::Names(names) => names.clone(),
    };
    let wanted: BTreeSet<&str> = resolve_targets(model, &names)?.iter().map(|module| module.name()).collect();
    let settings = [
        ("r", config.r.to_string(), lora.r.to_string()),
        ("alpha", config.lora_alpha.to_string(), lora.alpha.to_string()),
        ("use_rslora", config.use_rslora.to_string(), lora.use_rslora.to_string()),
        ("target_modules", listed(&targets(adapter)), listed(&wanted)),
    ];
    for (name, has, wants) in settings {
        if has != wants {
            let reason = format!("its {name} is {has}, but lora.{name} = {wants}; set lora.{name}={has}");
            return Err(Error::InitAdapter { path: folder.to_owned(), reason });
        }
    }
    Ok(())
}

/// The linears that the adapter has tensors for.
fn targets(adapter: &Adapter) -> BTreeSet<&str> {
    let names = adapter.entries().iter().filter_map(|entry| entry.name.strip_suffix(".lora_A.weight"));
    names.filter_map(|name| name.rsplit('.').next()).collect()
}

/// As TOML writes a list.
fn listed(names: &BTreeSet<&str>) -> String {
    format!("{:?}", names.iter().collect::<Vec<_>>())
}
