//! A PEFT folder put onto a model: every tensor has its place, every place its tensor, and both are what the config says by PEFT's own
//! rules. What is not so is refused by name. How tensors lie on the device is the parent's matter.

use std::path::Path;

use aludel_formats::peft::{self, Bias, LoraPart, Rows, TensorName};
use aludel_formats::safetensors;
use aludel_kernels::{Context, quant};

use super::{Adapter, Base, Buffer, Slot, biases};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::layout::{Layout, layer_of, linear_shape, module_path};
use crate::module::MODULES;

/// Modules outside of the layers that PEFT could put an adapter on.
const OUTER: [&str; 2] = ["model.embed_tokens", "lm_head"];

/// The tensors of a file by their places, under the names that they have there.
struct Found {
    /// A, B and magnitude of each linear.
    loras: Vec<[[Option<String>; 3]; MODULES]>,
    /// Trained biases.
    biases: Vec<[Option<String>; MODULES]>,
    /// Rows of embedding and head.
    rows: [Option<String>; 2],
}

impl Adapter {
    /// Loads a PEFT folder onto a model. Where it is given by its config alone, an adapter of DoRA can be merged, but not computed with.
    ///
    /// # Errors
    /// [`Error::Adapter`] if a tensor does not fit the model or its own config, is unknown or has no partner, or if token ids do not fit
    /// the vocabulary; format errors of the files.
    pub fn load(ctx: &mut Context, base: &impl Base, folder: &Path) -> Result<Adapter> {
        let config = base.config();
        let file = peft::read(folder)?;
        let wrong = |reason: String| Error::Adapter { path: folder.to_owned(), reason };
        let mut found = Found::sort(file.weights.names(), config).map_err(wrong)?;
        let Some(default_targets) =
            config.family.default_targets.or(file.config.target_modules.as_ref().map(|_| &[][..]))
        else {
            return Err(wrong(format!(
                "its target_modules are null, for which PEFT has no default in models of type {}; name the modules in its \
                 adapter_config.json",
                config.family.model_type
            )));
        };
        let rules = file.rules(default_targets)?;
        for module in OUTER {
            if rules.is_target(module)? {
                return Err(wrong(format!(
                    "its target_modules mean {module}, and an adapter on that is not supported; give one on linears of layers alone"
                )));
            }
        }
        let mut buffer = Buffer::new(config);
        let mut values = Vec::new();
        for (layer, modules) in found.loras.iter().enumerate() {
            for &module in config.modules() {
                let path = module_path(layer, module);
                let [a, b, magnitude] = &modules[module as usize];
                let (a_name, b_name) = match ([a, b], rules.is_target(&path)?) {
                    ([None, None], false) => match magnitude {
                        None => continue,
                        Some(name) => {
                            return Err(wrong(format!("{name} has no partner: a magnitude comes with A and B")));
                        }
                    },
                    ([Some(a), Some(b)], true) => (a, b),
                    ([None, None], true) => {
                        return Err(wrong(format!(
                            "its target_modules mean {path}, but it has no tensors for that; get it again from its source, or fix \
                             target_modules in its adapter_config.json"
                        )));
                    }
                    ([Some(name), None] | [None, Some(name)], _) => {
                        return Err(wrong(format!("{name} has no partner: A and B come in pairs")));
                    }
                    ([Some(name), Some(_)], false) => {
                        return Err(wrong(format!(
                            "{name}: its target_modules leave {path} out, so that PEFT would not use this tensor; fix target_modules in \
                             its adapter_config.json, or remove the tensor"
                        )));
                    }
                };
                let (d_in, d_out) = linear_shape(config, module);
                let r = rules.rank(&path)?;
                values.extend(read_tensor(&file.weights, a_name, &[r, d_in], folder)?);
                values.extend(read_tensor(&file.weights, b_name, &[d_out, r], folder)?);
                let a = buffer.push(peft::lora_a_name(&path), r, d_in);
                let b = buffer.push(peft::lora_b_name(&path), d_out, r);
                let dora = match (magnitude, file.config.use_dora) {
                    (None, false) => None,
                    (Some(name), true) => {
                        values.extend(read_tensor(&file.weights, name, &[d_out], folder)?);
                        Some(buffer.push_dora(ctx, base, layer, module))
                    }
                    (Some(name), false) => {
                        return Err(wrong(format!(
                            "{name}: its use_dora is false, so that PEFT would not use this tensor; fix use_dora in its \
                             adapter_config.json, or remove the tensor"
                        )));
                    }
                    (None, true) => {
                        return Err(wrong(format!(
                            "its use_dora is true, but it has no magnitude for {path}; get it again from its source"
                        )));
                    }
                };
                let scale = rules.scale(&path)? as f32;
                buffer.slots[layer][module as usize] = Some(Slot { a, b, scale, dora, blocks: None });
            }
        }
        let embedding = file.config.embedding_tokens();
        let head = match file.config.head_tokens() {
            // PEFT ties what is trained as the model ties the tables, and saves it once
            head if config.tie_word_embeddings && head == embedding => &[],
            head => head,
        };
        if config.tie_word_embeddings && !(head.is_empty() && found.rows[1].is_none()) {
            let reason = "it has rows of an untied head, but this model ties its head to the embedding";
            return Err(wrong(format!("{reason}; give the base that it was trained on")));
        }
        super::rows::check(config, embedding, head).map_err(wrong)?;
        for ((kind, ids), name) in [(Rows::Embedding, embedding), (Rows::Head, head)].into_iter().zip(&found.rows) {
            match name {
                Some(name) if !ids.is_empty() => {
                    let rows = read_tensor(&file.weights, name, &[ids.len(), config.hidden_size], folder)?;
                    buffer.push_rows(kind, ids, config.hidden_size);
                    values.extend(rows);
                }
                None if ids.is_empty() => {}
                _ => {
                    return Err(wrong(format!(
                        "adapter_config.json lists {} trained rows for {kind:?}, the weights {} them; get it again from its source",
                        ids.len(),
                        if name.is_some() { "have" } else { "lack" },
                    )));
                }
            }
        }
        let bias = file.config.bias;
        for (layer, module, is_adapted) in biases::trained(config, bias, &buffer.slots) {
            let Some(name) = found.biases[layer][module as usize].take() else {
                return Err(wrong(format!(
                    "its \"bias\" says that biases of the base were trained, but it has none of {}; get it again from its source",
                    module_path(layer, module)
                )));
            };
            let (_, d_out) = linear_shape(config, module);
            values.extend(read_tensor(&file.weights, &name, &[d_out], folder)?);
            buffer.push_bias(layer, module, is_adapted, d_out);
        }
        if let Some(name) = found.biases.iter().flatten().flatten().next() {
            return Err(wrong(if config.biases.contains(&true) {
                let set = match bias {
                    Bias::None => "none",
                    Bias::All => "all",
                    Bias::LoraOnly => "lora_only",
                };
                format!(
                    "{name}: its \"bias\" is \"{set}\" and leaves this one out, so that PEFT would not use it; fix \"bias\" in its \
                     adapter_config.json, or remove the tensor"
                )
            } else {
                format!(
                    "{name}: this model has no biases; give the base that it was trained on, which its adapter_config.json names"
                )
            }));
        }
        if buffer.entries.is_empty() {
            return Err(wrong("the adapter has no tensors; give the folder that training saved it in".to_owned()));
        }
        Ok(buffer.into_adapter(ctx, file.config, &values))
    }
}

impl Found {
    /// Finds the place of each name; what is wrong with one that has none.
    fn sort<'n>(names: impl Iterator<Item = &'n str>, config: &Config) -> Result<Found, String> {
        let none = || [const { [const { None }; 3] }; MODULES];
        let layers = config.num_hidden_layers;
        let mut found = Found {
            loras: (0..layers).map(|_| none()).collect(),
            biases: (0..layers).map(|_| [const { None }; MODULES]).collect(),
            rows: [None, None],
        };
        let layout = Layout::new(config);
        for name in names {
            let place = match peft::parse_name(name) {
                Some(TensorName::Lora { module, part }) => {
                    let Some((layer, linear)) = layout.linear_at(&module) else {
                        return Err(format!("{name}: {}", why_no_linear(config, &module)));
                    };
                    let part = match part {
                        LoraPart::A => 0,
                        LoraPart::B => 1,
                        LoraPart::Magnitude => 2,
                    };
                    &mut found.loras[layer][linear as usize][part]
                }
                Some(TensorName::Bias { module }) => {
                    let Some((layer, linear)) = layout.linear_at(&module) else {
                        return Err(format!("{name}: {}", why_no_linear(config, &module)));
                    };
                    &mut found.biases[layer][linear as usize]
                }
                Some(TensorName::TrainedRows(kind)) => &mut found.rows[usize::from(kind == Rows::Head)],
                None => return Err(format!("{name}: {}", peft::what_tensor_is(name))),
            };
            if let Some(other) = place.replace(name.to_owned()) {
                return Err(format!("{other} and {name} are two names of one tensor; remove one of them"));
            }
        }
        Ok(found)
    }
}

/// Why an adapter of this module has no place in a model.
fn why_no_linear(config: &Config, path: &str) -> String {
    let another = "give the base that it was trained on, which its adapter_config.json names";
    let layers = config.num_hidden_layers;
    match layer_of(path, "model.layers.") {
        None => format!("an adapter on {path} is not supported; give one on linears of layers alone"),
        Some((layer, _)) if layer >= layers => format!("this model has only {layers} layers; {another}"),
        Some((_, module)) => format!("this model has no {module}; {another}"),
    }
}

/// The values of a tensor whose shape is checked before anything is made for it.
fn read_tensor(weights: &safetensors::Weights, name: &str, shape: &[usize], folder: &Path) -> Result<Vec<f32>> {
    let view = weights.get(name)?;
    let wrong = |reason: String| Error::Adapter { path: folder.to_owned(), reason: format!("{name}: {reason}") };
    if view.shape != shape {
        return Err(wrong(format!(
            "has shape {:?}, but this model asks for {shape:?}: it was trained on another base, or with another rank than its \
             adapter_config.json says; give the base that it was trained on, which that file names",
            view.shape
        )));
    }
    let block_type = view
        .dtype
        .ggml_type_id()
        .and_then(quant::BlockType::from_ggml_id)
        .ok_or_else(|| wrong(format!("is stored as {}; F32, F16 or BF16 would be right", view.dtype)))?;
    let mut values = vec![0f32; shape.iter().product()];
    quant::decode(block_type, view.bytes, &mut values).map_err(|e| wrong(e.to_string()))?;
    if let Some(at) = values.iter().position(|x| !x.is_finite()) {
        return Err(wrong(format!(
            "element {at} is {}; the adapter is damaged, so get it again or train it anew",
            values[at]
        )));
    }
    Ok(values)
}
