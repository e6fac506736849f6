//! The rule for every tensor of a model file: used, known to be harmless, or refused, since a model that has it computes
//! something else than is computed here. Shapes and element types are looked at when a tensor is read.

use std::collections::HashSet;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::{Files, LONGROPE_FACTORS, ROPE_DIVISORS};
use crate::layout::{Layout, Role, layer_of};

/// What an untied head is called in a Hugging Face folder, also where the config ties it.
const HEAD: &str = "lm_head.weight";

/// Refuses a file that lacks a tensor, and one that has a tensor which is neither used nor harmless.
pub(crate) fn check(files: &Files, layout: &Layout, config: &Config) -> Result<()> {
    let mut used: HashSet<&str> = HashSet::new();
    for (_, tensor) in layout.tensors() {
        let name = files.stored_name(tensor);
        files.view(name)?;
        used.insert(name);
    }
    if matches!(files, Files::Gguf(_)) && config.family.gguf_has_rope_divisors {
        // where it is missing, nothing is divided
        used.insert(ROPE_DIVISORS);
    }
    if matches!(files, Files::Gguf(_)) && config.family.has_longrope {
        used.extend(LONGROPE_FACTORS);
    }
    for name in files.names() {
        if !used.contains(name) && !is_harmless(files, layout, config, name)? {
            let (path, reason) = (files.path_of(name).to_owned(), reason(files, config, name));
            return Err(Error::Tensor { path, name: name.to_owned(), reason });
        }
    }
    Ok(())
}

/// Tensors of Hugging Face folders that change nothing: the rotary frequencies that older versions of transformers stored and
/// every version computes from the config, and a head that is the embedding once more where the config ties them. Where it is
/// not, transformers 4 takes the embedding and transformers 5 the head.
fn is_harmless(files: &Files, layout: &Layout, config: &Config, name: &str) -> Result<bool> {
    if let Files::Gguf(_) = files {
        return Ok(false);
    }
    if config.tie_word_embeddings && name == HEAD {
        let embedding = files.stored_name(layout.tensor(Role::Embedding));
        let (head, embedding) = (files.view(HEAD)?, files.view(embedding)?);
        return Ok((head.dtype, head.shape, head.bytes) == (embedding.dtype, embedding.shape, embedding.bytes));
    }
    let within = name.strip_prefix("model.").unwrap_or_default();
    let within = layer_of(within, "layers.").map_or(within, |(_, rest)| rest);
    Ok(matches!(within, "rotary_emb.inv_freq" | "self_attn.rotary_emb.inv_freq"))
}

/// Why a tensor is refused, and the mend.
fn reason(files: &Files, config: &Config, name: &str) -> String {
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
    let (class, architecture) = (config.family.class, config.family.gguf);
    match files {
        Files::Gguf(_) if name.ends_with(".bias") => {
            format!(
                "is a bias that GGUF files of the architecture {architecture:?} have no place for; use the model's Hugging Face folder"
            )
        }
        Files::Folder(_) if name.ends_with(".bias") => format!(
            "config.json announces no such bias for {class}; if the model has biases, set attention_bias or mlp_bias, else take the \
             tensor out of the file"
        ),
        _ => format!(
            "is no part of a {class}, and may change what the model computes; use a model without it, or take it out of the file if \
             it is a leftover"
        ),
    }
}
