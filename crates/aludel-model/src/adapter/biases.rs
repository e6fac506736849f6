//! Which biases of the base an adapter trains: the one rule, for new adapters and for those that are loaded.

use aludel_formats::peft::Bias;

use super::Slot;
use crate::config::Config;
use crate::module::{MODULES, Module};

/// The biases that a setting means: layer, linear, and whether there is an adapter on it.
pub(super) fn trained(config: &Config, bias: Bias, slots: &[[Option<Slot>; MODULES]]) -> Vec<(usize, Module, bool)> {
    let mut found = Vec::new();
    for (layer, slots) in slots.iter().enumerate() {
        for &module in config.modules() {
            let is_adapted = slots[module as usize].is_some();
            let is_trained = match bias {
                Bias::None => false,
                Bias::All => true,
                Bias::LoraOnly => is_adapted,
            };
            if is_trained && config.has_bias(module) {
                found.push((layer, module, is_adapted));
            }
        }
    }
    found
}

/// Why there is no bias to train.
pub(super) fn nothing_to_train(config: &Config, bias: Bias) -> String {
    let set = "set lora.bias = \"none\"";
    match config
        .modules()
        .iter()
        .filter(|&&module| config.has_bias(module))
        .map(|module| module.name())
        .collect::<Vec<_>>()
    {
        none if none.is_empty() => format!("this model has no biases to train; {set}"),
        names => {
            debug_assert_eq!(bias, Bias::LoraOnly, "there are biases");
            let names = names.join(", ");
            format!(
                "of the linears with an adapter none has a bias to train; add one of {names} to lora.target_modules, set lora.bias = \"all\", \
                 or {set}"
            )
        }
    }
}
