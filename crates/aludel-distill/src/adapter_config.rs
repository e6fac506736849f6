//! `[lora]` of a recipe as PEFT describes an adapter. Which modules that means is PEFT's rule, which the adapter follows.

use aludel_formats::peft::{self, AdapterConfig};
use aludel_model::config::Config;
use aludel_model::module::Module;
use serde_json::json;

use crate::settings::{Bias, LoraSettings, TargetModules};

/// What PEFT would call the adapter of these settings on a model. "all-linear" becomes the names of the model's linears, as PEFT saves it.
pub(crate) fn of(lora: &LoraSettings, model: &Config) -> AdapterConfig {
    let target_modules = match &lora.target_modules {
        TargetModules::AllLinear => {
            let mut modules: Vec<Module> = model.modules().to_vec();
            modules.sort_by_key(|module| *module as usize);
            peft::TargetModules::Names(modules.iter().map(|module| module.name().to_owned()).collect())
        }
        named => in_peft(named),
    };
    from_settings(lora, target_modules)
}

/// As PEFT writes them.
fn in_peft(modules: &TargetModules) -> peft::TargetModules {
    match modules {
        TargetModules::AllLinear => peft::TargetModules::Pattern("all-linear".to_owned()),
        TargetModules::Names(names) => peft::TargetModules::Names(names.clone()),
        TargetModules::Pattern(pattern) => peft::TargetModules::Pattern(pattern.clone()),
    }
}

/// As [`of`], with target modules in PEFT's terms.
pub(crate) fn from_settings(lora: &LoraSettings, target_modules: peft::TargetModules) -> AdapterConfig {
    let mut config = AdapterConfig {
        r: lora.r,
        lora_alpha: lora.alpha,
        lora_dropout: lora.dropout,
        use_rslora: lora.use_rslora,
        use_dora: lora.use_dora,
        bias: match lora.bias {
            Bias::None => peft::Bias::None,
            Bias::All => peft::Bias::All,
            Bias::LoraOnly => peft::Bias::LoraOnly,
        },
        target_modules: Some(target_modules),
        exclude_modules: lora.exclude_modules.as_ref().map(in_peft),
        rank_pattern: lora.rank_pattern.iter().map(|(pattern, r)| (pattern.clone(), *r)).collect(),
        alpha_pattern: lora.alpha_pattern.iter().map(|(pattern, alpha)| (pattern.clone(), *alpha)).collect(),
        ..AdapterConfig::default()
    };
    if !lora.layers_to_transform.is_empty() {
        config.other.insert("layers_to_transform".to_owned(), json!(lora.layers_to_transform));
    }
    if !lora.layers_pattern.is_empty() {
        config.other.insert("layers_pattern".to_owned(), json!(lora.layers_pattern));
    }
    config
}
