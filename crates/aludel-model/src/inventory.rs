//! The rule for every tensor of a model file: used, known to be harmless, or refused, since a model that has it computes
//! something else than is computed here. Shapes and element types are looked at when a tensor is read.

use std::collections::HashSet;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::module::Module;
use crate::weights::{
    EMBEDDING, HEAD, INPUT_NORM, NORM, POST_ATTENTION_NORM, ROPE_DIVISORS, Weights, linear_name, norm_name,
};

/// Refuses a file that lacks a tensor, and one that has a tensor which is neither used nor harmless.
pub(crate) fn check(weights: &Weights, config: &Config) -> Result<()> {
    let mut used = used(config);
    for name in &used {
        weights.view(name)?;
    }
    if let Weights::Gguf(_) = weights {
        // where it is missing, nothing is divided
        used.push(ROPE_DIVISORS.to_owned());
    }
    let used: HashSet<String> = used.into_iter().map(|name| weights.stored_name(&name)).collect();
    for name in weights.names() {
        if !used.contains(name) && !is_harmless(weights, config, name)? {
            let (path, reason) = (weights.path_of(name).to_owned(), reason(weights, config, name));
            return Err(Error::Tensor { path, name: name.to_owned(), reason });
        }
    }
    Ok(())
}

/// The names of all tensors that a decoder of this config is made from.
fn used(config: &Config) -> Vec<String> {
    let mut names = vec![EMBEDDING.to_owned(), NORM.to_owned()];
    if !config.tie_word_embeddings {
        names.push(HEAD.to_owned());
    }
    for layer in 0..config.num_hidden_layers {
        names.extend([INPUT_NORM, POST_ATTENTION_NORM].map(|norm| norm_name(layer, norm)));
        for module in Module::ALL {
            names.push(linear_name(layer, module, "weight"));
            if config.has_bias(module) {
                names.push(linear_name(layer, module, "bias"));
            }
        }
    }
    names
}

/// Tensors of Hugging Face folders that change nothing: the rotary frequencies that older versions of transformers stored and
/// every version computes from the config, and a head that is the embedding once more where the config ties them. Where it is
/// not, transformers 4 takes the embedding and transformers 5 the head.
fn is_harmless(weights: &Weights, config: &Config, name: &str) -> Result<bool> {
    if let Weights::Gguf(_) = weights {
        return Ok(false);
    }
    if config.tie_word_embeddings && name == HEAD {
        let (head, embedding) = (weights.view(HEAD)?, weights.view(EMBEDDING)?);
        return Ok((head.dtype, head.shape, head.bytes) == (embedding.dtype, embedding.shape, embedding.bytes));
    }
    let within = name.strip_prefix("model.").unwrap_or_default();
    let within = layer_of(within, "layers.").map_or(within, |(_, rest)| rest);
    Ok(matches!(within, "rotary_emb.inv_freq" | "self_attn.rotary_emb.inv_freq"))
}

/// Why a tensor is refused, and the mend.
fn reason(weights: &Weights, config: &Config, name: &str) -> String {
    if name == HEAD {
        return "differs from the embedding, though config.json says tie_word_embeddings = true; set it to false to use this \
                head, or take the tensor out of the file"
            .to_owned();
    }
    let layer = layer_of(name, "model.layers.").or_else(|| layer_of(name, "blk."));
    let layers = config.num_hidden_layers;
    if let Some((layer, _)) = layer.filter(|(layer, _)| *layer >= layers) {
        return format!(
            "belongs to layer {layer}, but the config asks for {layers} layers, counted from 0; config and weights are of \
             different models, so get both from one place"
        );
    }
    let mend = match weights {
        Weights::Gguf(_) if name.ends_with(".bias") => {
            "biases in a GGUF of the Llama family are not supported; use the model's Hugging Face folder"
        }
        Weights::Folder(_) if name.ends_with(".bias") => {
            "config.json announces no such bias; if the model has biases, set attention_bias or mlp_bias, else take the \
             tensor out of the file"
        }
        _ => {
            "is no part of a model of the Llama family, and may change what the model computes; use a model without it, or \
             take it out of the file if it is a leftover"
        }
    };
    mend.to_owned()
}

/// The layer that a name begins with, and the rest of the name.
fn layer_of<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (layer, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((layer.parse().ok()?, rest))
}
