//! The inventory of a model's tensors: what each is called in a Hugging Face folder and in a GGUF file, its shape, its role in the
//! decoder, and the order of its rows. Loading, merging, adapters' names and the check for unknown tensors all read this list. How
//! families differ is data of `Config`.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::module::Module;

/// What a tensor is in the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Rows of tokens, [vocabulary, C]; also the head where the config ties them.
    Embedding,
    /// The norm before attention, `[C]`.
    InputNorm(usize),
    /// The norm before the gated layer, `[C]`.
    FeedForwardNorm(usize),
    /// The norm of what attention adds to the residual stream, `[C]`.
    AttentionOutputNorm(usize),
    /// The norm of what the gated layer adds to the residual stream, `[C]`.
    FeedForwardOutputNorm(usize),
    /// The norm of each head's queries, `[D]`.
    QueryNorm(usize),
    /// The norm of each head's keys, `[D]`.
    KeyNorm(usize),
    /// A linear's weight in a layer, [out, in].
    Weight(usize, Module),
    /// A linear's bias in a layer, `[out]`.
    Bias(usize, Module),
    /// The last norm, `[C]`.
    OutputNorm,
    /// An untied head, [vocabulary, C].
    Head,
}

impl Role {
    /// Whether it is the weight of a norm.
    pub fn is_norm(self) -> bool {
        match self {
            Role::InputNorm(_)
            | Role::FeedForwardNorm(_)
            | Role::AttentionOutputNorm(_)
            | Role::FeedForwardOutputNorm(_)
            | Role::QueryNorm(_)
            | Role::KeyNorm(_)
            | Role::OutputNorm => true,
            Role::Embedding | Role::Weight(..) | Role::Bias(..) | Role::Head => false,
        }
    }
}

/// A tensor as files have it. Every one of them must be there.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorLayout {
    /// The name in a Hugging Face folder.
    pub name: String,
    /// The name in a GGUF file.
    pub gguf_name: String,
    /// The shape, outermost first.
    pub shape: Vec<usize>,
    /// How a GGUF file orders the rows.
    pub gguf_rows: RowOrder,
    /// What is added to the values of a Hugging Face folder: 1 where the class multiplies by 1 + weight. GGUF files hold the sum.
    pub folder_offset: f32,
}

/// The order of rows in a GGUF file, against that of a Hugging Face folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// The same.
    Same,
    /// Channels 2i and 2i + 1 of each head are rotated together, where Hugging Face pairs i and i + D/2.
    Paired {
        /// D, channels of a head.
        head_dim: usize,
    },
}

impl RowOrder {
    /// The row of the file that holds row `row` of the Hugging Face order.
    pub fn stored_row(self, row: usize) -> usize {
        let RowOrder::Paired { head_dim } = self else { return row };
        let (head, channel) = (row / head_dim, row % head_dim);
        let (half, i) = (channel / (head_dim / 2), channel % (head_dim / 2));
        head * head_dim + 2 * i + half
    }

    /// The row of the Hugging Face order that row `stored` of the file holds.
    pub fn row_of(self, stored: usize) -> usize {
        let RowOrder::Paired { head_dim } = self else { return stored };
        let (head, channel) = (stored / head_dim, stored % head_dim);
        head * head_dim + channel % 2 * (head_dim / 2) + channel / 2
    }
}

/// Every tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    tensors: BTreeMap<Role, TensorLayout>,
}

impl Layout {
    /// The tensors of a model of this config.
    pub fn new(config: &Config) -> Layout {
        let mut tensors = BTreeMap::new();
        let mut add = |role: Role, name: String, gguf_name: String, shape: Vec<usize>| {
            let is_rotated = matches!(
                role,
                Role::Weight(_, Module::QProj | Module::KProj) | Role::Bias(_, Module::QProj | Module::KProj)
            );
            let gguf_rows = if is_rotated && config.family.gguf_rows_are_paired {
                RowOrder::Paired { head_dim: config.head_dim }
            } else {
                RowOrder::Same
            };
            let folder_offset = if role.is_norm() { config.family.norm_offset } else { 0.0 };
            tensors.insert(role, TensorLayout { name, gguf_name, shape, gguf_rows, folder_offset });
        };
        let table = vec![config.vocab_size, config.hidden_size];
        add(Role::Embedding, "model.embed_tokens.weight".into(), "token_embd.weight".into(), table.clone());
        for n in 0..config.num_hidden_layers {
            let (hf, gguf) = (format!("model.layers.{n}"), format!("blk.{n}"));
            let mut add_norm = |role, name: &str, gguf_name: &str, channels: usize| {
                add(role, format!("{hf}.{name}.weight"), format!("{gguf}.{gguf_name}.weight"), vec![channels]);
            };
            add_norm(Role::InputNorm(n), "input_layernorm", "attn_norm", config.hidden_size);
            if config.has_output_norms {
                add_norm(Role::FeedForwardNorm(n), "pre_feedforward_layernorm", "ffn_norm", config.hidden_size);
                let (name, gguf_name) = ("post_attention_layernorm", "post_attention_norm");
                add_norm(Role::AttentionOutputNorm(n), name, gguf_name, config.hidden_size);
                let (name, gguf_name) = ("post_feedforward_layernorm", "post_ffw_norm");
                add_norm(Role::FeedForwardOutputNorm(n), name, gguf_name, config.hidden_size);
            } else {
                add_norm(Role::FeedForwardNorm(n), "post_attention_layernorm", "ffn_norm", config.hidden_size);
            }
            if config.has_head_norms {
                add_norm(Role::QueryNorm(n), "self_attn.q_norm", "attn_q_norm", config.head_dim);
                add_norm(Role::KeyNorm(n), "self_attn.k_norm", "attn_k_norm", config.head_dim);
            }
            for &module in config.modules() {
                let (d_in, d_out) = linear_shape(config, module);
                let (path, inner) = (module_path(n, module), module.gguf_name());
                add(
                    Role::Weight(n, module),
                    format!("{path}.weight"),
                    format!("{gguf}.{inner}.weight"),
                    vec![d_out, d_in],
                );
                if config.has_bias(module) {
                    add(Role::Bias(n, module), format!("{path}.bias"), format!("{gguf}.{inner}.bias"), vec![d_out]);
                }
            }
        }
        add(Role::OutputNorm, "model.norm.weight".into(), "output_norm.weight".into(), vec![config.hidden_size]);
        if !config.tie_word_embeddings {
            add(Role::Head, "lm_head.weight".into(), "output.weight".into(), table);
        }
        Layout { tensors }
    }

    /// Every tensor with its role: the embedding first, the head last.
    pub fn tensors(&self) -> impl Iterator<Item = (Role, &TensorLayout)> {
        self.tensors.iter().map(|(role, tensor)| (*role, tensor))
    }

    /// The tensor in a role.
    ///
    /// # Panics
    /// If the model has none, as a tied head or a bias that the config does not announce.
    pub fn tensor(&self, role: Role) -> &TensorLayout {
        &self.tensors[&role]
    }

    /// The role of the tensor that makes logits: the embedding where the head is tied to it.
    pub fn head(&self) -> Role {
        if self.tensors.contains_key(&Role::Head) { Role::Head } else { Role::Embedding }
    }

    /// The linear of that path, `model.layers.3.self_attn.q_proj`.
    pub fn linear_at(&self, path: &str) -> Option<(usize, Module)> {
        let (layer, inner) = layer_of(path, "model.layers.")?;
        let module = Module::from_path(inner)?;
        // "01" and "+1" are no names of layer 1
        (self.tensors.contains_key(&Role::Weight(layer, module)) && module_path(layer, module) == path)
            .then_some((layer, module))
    }
}

/// The path of a linear in transformers' model, `model.layers.3.self_attn.q_proj`.
pub fn module_path(layer: usize, module: Module) -> String {
    format!("model.layers.{layer}.{}", module.path())
}

/// Input and output channels of a linear.
pub fn linear_shape(config: &Config, module: Module) -> (usize, usize) {
    let (hidden, kv) = (config.hidden_size, config.num_key_value_heads * config.head_dim);
    let attention = config.num_attention_heads * config.head_dim;
    match module {
        Module::QProj => (hidden, attention),
        Module::KProj | Module::VProj => (hidden, kv),
        Module::OProj => (attention, hidden),
        Module::GateProj | Module::UpProj => (hidden, config.intermediate_size),
        Module::DownProj => (config.intermediate_size, hidden),
        Module::QkvProj => (hidden, attention + 2 * kv),
        Module::GateUpProj => (hidden, 2 * config.intermediate_size),
    }
}

/// The layer that a name begins with, and the rest of the name.
pub(crate) fn layer_of<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (layer, rest) = name.strip_prefix(prefix)?.split_once('.')?;
    Some((layer.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn layout(class: &str, model_type: &str) -> Layout {
        let json = json!({
            "architectures": [class], "model_type": model_type, "vocab_size": 10, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 13, "num_attention_heads": 2, "num_key_value_heads": 1,
        });
        Layout::new(&Config::from_hf(&json, Path::new("config.json")).unwrap())
    }

    #[test]
    fn names_are_those_of_transformers_and_llama_cpp() {
        let layout = layout("LlamaForCausalLM", "llama");
        let check = |role: Role, name: &str, gguf_name: &str, shape: &[usize]| {
            let tensor = layout.tensor(role);
            assert_eq!((tensor.name.as_str(), tensor.gguf_name.as_str(), &tensor.shape[..]), (name, gguf_name, shape));
        };
        check(Role::Embedding, "model.embed_tokens.weight", "token_embd.weight", &[10, 8]);
        check(
            Role::Weight(12, Module::OProj),
            "model.layers.12.self_attn.o_proj.weight",
            "blk.12.attn_output.weight",
            &[8, 8],
        );
        check(Role::Weight(0, Module::KProj), "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", &[4, 8]);
        check(
            Role::FeedForwardNorm(3),
            "model.layers.3.post_attention_layernorm.weight",
            "blk.3.ffn_norm.weight",
            &[8],
        );
        check(Role::OutputNorm, "model.norm.weight", "output_norm.weight", &[8]);
        check(layout.head(), "lm_head.weight", "output.weight", &[10, 8]);
        assert_eq!(layout.tensors().count(), 3 + 13 * 9);
    }

    #[test]
    fn paths_of_linears_lead_to_them() {
        let layout = layout("LlamaForCausalLM", "llama");
        for &module in Module::APART {
            assert_eq!(layout.linear_at(&module_path(7, module)), Some((7, module)));
        }
        for other in [
            "model.layers.13.self_attn.q_proj",
            "model.layers.01.self_attn.q_proj",
            "model.layers.1.self_attn",
            "lm_head",
            "",
        ] {
            assert_eq!(layout.linear_at(other), None, "{other}");
        }
    }

    #[test]
    fn qwen2_has_biases_on_queries_keys_and_values_alone_and_rows_as_they_are() {
        let layout = layout("Qwen2ForCausalLM", "qwen2");
        let of_layer = |layer| {
            layout
                .tensors()
                .filter(|(role, _)| matches!(role, Role::Bias(n, _) if *n == layer))
                .map(|(_, tensor)| &*tensor.gguf_name)
                .collect::<Vec<_>>()
        };
        assert_eq!(of_layer(4), ["blk.4.attn_q.bias", "blk.4.attn_k.bias", "blk.4.attn_v.bias"]);
        assert_eq!(layout.tensor(Role::Weight(0, Module::QProj)).gguf_rows, RowOrder::Same);
    }

    #[test]
    fn the_order_of_a_gguf_is_a_permutation() {
        let rows: Vec<usize> = (0..16).map(|row| RowOrder::Paired { head_dim: 8 }.stored_row(row)).collect();
        assert_eq!(rows, [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]);
        let back: Vec<usize> = rows.iter().map(|&row| RowOrder::Paired { head_dim: 8 }.row_of(row)).collect();
        assert_eq!(back, (0..16).collect::<Vec<_>>());
    }
}
