//! An adapter that training starts from and the recipe must say the same, so that the recipe in a run folder is what was trained.
//! Whether the adapter fits the student is found out where it is loaded.

use std::collections::BTreeSet;
use std::path::Path;

use aludel_formats::peft::Bias;
use aludel_model::adapter::{Adapter, targets};
use aludel_model::config::Config;
use aludel_model::layout::module_path;
use aludel_model::module::Module;

use crate::adapter_config;
use crate::error::{Error, Result};
use crate::settings::LoraSettings;

/// Refuses settings of `[lora]` that are not those of the adapter.
///
/// # Errors
/// [`Error::InitAdapter`] names the first that differs, with what would be right.
pub(crate) fn check(adapter: &Adapter, model: &Config, folder: &Path, lora: &LoraSettings) -> Result<()> {
    let config = adapter.config();
    let recipe = adapter_config::of(lora, model);
    let wanted = targets(model, &recipe)?;
    let settings = [
        ("r", config.r.to_string(), lora.r.to_string()),
        ("alpha", config.lora_alpha.to_string(), lora.alpha.to_string()),
        ("use_rslora", config.use_rslora.to_string(), lora.use_rslora.to_string()),
        ("use_dora", config.use_dora.to_string(), lora.use_dora.to_string()),
        ("bias", named(config.bias), named(recipe.bias)),
        (
            "target_modules",
            listed(&names(adapter)),
            listed(&wanted.iter().map(|target| target.module.name()).collect()),
        ),
    ];
    let wrong = |reason: String| Err(Error::InitAdapter { path: folder.to_owned(), reason });
    for (name, has, wants) in settings {
        if has != wants {
            return wrong(format!("its {name} is {has}, but lora.{name} = {wants}; set lora.{name}={has}"));
        }
    }
    let of_recipe = |layer: usize, module: Module| {
        let target = wanted.iter().find(|target| (target.layer, target.module) == (layer, module));
        target.map(|target| (target.r, target.scale as f32))
    };
    for (layer, module) in (0..model.num_hidden_layers).flat_map(|n| model.modules().iter().map(move |&m| (n, m))) {
        let has = adapter.factors(layer, module).map(|(lora, _)| (lora.a.rows(), lora.scale));
        let wants = of_recipe(layer, module);
        if has != wants {
            let told = |it: Option<(usize, f32)>| {
                it.map_or_else(|| "none".to_owned(), |(r, scale)| format!("one of rank {r} and scale {scale}"))
            };
            return wrong(format!(
                "its adapter on {} is {}, but by the recipe it is {}; set lora.target_modules, lora.layers_to_transform, lora.rank_pattern and \
                 lora.alpha_pattern to what its adapter_config.json has",
                module_path(layer, module),
                told(has),
                told(wants)
            ));
        }
    }
    Ok(())
}

/// A choice as PEFT writes it.
fn named(bias: Bias) -> String {
    match bias {
        Bias::None => "none",
        Bias::All => "all",
        Bias::LoraOnly => "lora_only",
    }
    .to_owned()
}

/// The linears that the adapter has tensors for.
fn names(adapter: &Adapter) -> BTreeSet<&str> {
    let names = adapter.entries().iter().filter_map(|entry| entry.name.strip_suffix(".lora_A.weight"));
    names.filter_map(|name| name.rsplit('.').next()).collect()
}

/// As TOML writes a list.
fn listed(names: &BTreeSet<&str>) -> String {
    format!("{:?}", names.iter().collect::<Vec<_>>())
}
