//! A model of the fixtures, `llama3_rope/` above all, written anew with other keys and tensors, as a GGUF file or as a Hugging Face folder, each with a
//! tokenizer so small that it is made here.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(dead_code, reason = "each test takes what it needs")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aludel_formats::gguf::{Array, Value as Stored, Writer};
use aludel_formats::{Dtype, TensorSpec, safetensors};
use aludel_kernels::linear::Precision;
use aludel_kernels::{Context, Region, quant};
use aludel_model::decoder::{Attention, Decoder, PackedBatch, WeightFormat};
use aludel_model::student::Student;
use aludel_text::{GgufVocabulary, TextBundle};
use serde_json::{Value, json};

/// A folder of fixtures of `aludel-model`, from whichever crate.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../aludel-model/tests/fixtures").join(name)
}

/// A tensor of a fixture in f32.
pub(crate) fn tensor(weights: &safetensors::Weights, name: &str) -> Vec<f32> {
    let view = weights.get(name).unwrap();
    let mut out = vec![0.0; view.elements()];
    let block_type = quant::BlockType::from_ggml_id(view.dtype.ggml_type_id().unwrap()).unwrap();
    quant::decode(block_type, view.bytes, &mut out).unwrap();
    out
}

/// Logits of every token of a row.
pub(crate) fn logits(student: &Student, ids: &[u32]) -> Vec<f32> {
    logits_in(Context::cpu(2), student, Precision::F32.into(), ids)
}

/// [`logits`] on another device, or of weights that are held in another way.
pub(crate) fn logits_in(mut ctx: Context, student: &Student, format: WeightFormat, ids: &[u32]) -> Vec<f32> {
    let decoder = Decoder::load(&mut ctx, &student.config, &student.weights, format, 64).unwrap();
    let mut pass = PackedBatch::default();
    pass.push(0, ids);
    let run = |ctx: &mut Context| {
        let forward = decoder.forward(ctx, &pass, Attention::Rows, None, None);
        let out = ctx.alloc(Region::Io, pass.len(), decoder.vocab_size(None));
        decoder.logits(ctx, forward.hidden, None, out);
        ctx.download(out)
    };
    ctx.plan(run);
    run(&mut ctx)
}

/// The ids of the second row of a fixture.
pub(crate) fn ids(name: &str) -> Vec<u32> {
    let json: Value = serde_json::from_slice(&fs::read(fixture(name).join("golden.json")).unwrap()).unwrap();
    json["rows"][1]["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// That a message has all these parts.
pub(crate) fn assert_holds(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message}\nlacks {part}");
    }
}

/// A model in the making. Tensors have Hugging Face names and orders; a change is made before it is written.
pub(crate) struct Model {
    pub(crate) config: Value,
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    /// More GGUF keys, or other values for them.
    pub(crate) keys: Vec<(&'static str, Stored)>,
    /// More GGUF tensors, under their own names.
    pub(crate) gguf_tensors: Vec<(&'static str, Vec<f32>)>,
    /// Tensors that a GGUF file has in blocks, in its own order of rows, in place of f32.
    pub(crate) blocks: BTreeMap<String, (Dtype, Vec<u8>)>,
}

impl Model {
    pub(crate) fn open() -> Model {
        Model::of("llama3_rope").with("rope_scaling", Value::Null)
    }

    /// The model of a fixture.
    pub(crate) fn of(name: &str) -> Model {
        let folder = fixture(name).join("model");
        let config: Value = serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        let weights = safetensors::Weights::open_folder(&folder).unwrap();
        let tensors =
            weights.names().map(|name| (name.to_owned(), (weights.get(name).unwrap().shape, tensor(&weights, name))));
        Model { config, tensors: tensors.collect(), keys: vec![], gguf_tensors: vec![], blocks: BTreeMap::new() }
    }

    /// With a setting of `config.json`.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Model {
        self.config[key] = value;
        self
    }

    /// With a tensor, or another one in its place.
    pub(crate) fn with_tensor(mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Model {
        self.tensors.insert(name.to_owned(), (shape.to_vec(), values));
        self
    }

    /// With a key of GGUF metadata.
    pub(crate) fn with_key(mut self, key: &'static str, value: impl Into<Stored>) -> Model {
        self.keys.push((key, value.into()));
        self
    }

    /// With a GGUF tensor of one dimension.
    pub(crate) fn with_gguf_tensor(mut self, name: &'static str, values: Vec<f32>) -> Model {
        self.gguf_tensors.push((name, values));
        self
    }

    /// With a tensor in a GGUF file's blocks.
    pub(crate) fn with_blocks(mut self, name: &str, dtype: Dtype, bytes: Vec<u8>) -> Model {
        self.blocks.insert(name.to_owned(), (dtype, bytes));
        self
    }

    pub(crate) fn write_folder(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        let text = TextBundle::from_gguf(&vocabulary(), None, "file.gguf").unwrap();
        for file in text.to_files().unwrap() {
            fs::write(folder.join(file.name), file.contents).unwrap();
        }
        let specs: Vec<TensorSpec> =
            self.tensors.iter().map(|(name, (shape, _))| TensorSpec::new(name, Dtype::F32, shape.as_slice())).collect();
        let path = folder.join(safetensors::SINGLE_FILE_NAME);
        safetensors::save_file(&path, &specs, &safetensors::hf_metadata(), |spec| {
            Ok::<_, aludel_formats::Error>(Cow::Owned(quant::encode_f32(&self.tensors[&spec.name].1)))
        })
        .unwrap();
    }

    /// As llama.cpp's converter writes it, except for what was changed.
    pub(crate) fn write_gguf(&self, path: &Path) {
        let size = |key: &str| Stored::U32(u32::try_from(self.config[key].as_u64().unwrap()).unwrap());
        let architecture = match self.config["model_type"].as_str().unwrap() {
            "mistral" => "llama",
            "gemma3_text" => "gemma3",
            other => other,
        };
        let rope = &self.config["rope_parameters"];
        let theta = [&self.config["rope_theta"], &rope["rope_theta"], &rope["full_attention"]["rope_theta"]]
            .into_iter()
            .find_map(Value::as_f64);
        let mut of_family = vec![
            ("block_count", size("num_hidden_layers")),
            ("context_length", size("max_position_embeddings")),
            ("embedding_length", size("hidden_size")),
            ("feed_forward_length", size("intermediate_size")),
            ("attention.head_count", size("num_attention_heads")),
            ("attention.head_count_kv", size("num_key_value_heads")),
            ("rope.freq_base", Stored::F32(theta.unwrap() as f32)),
            ("attention.layer_norm_rms_epsilon", Stored::F32(1e-5)),
        ];
        if self.config["head_dim"].is_u64() {
            let of_heads = ["attention.key_length", "attention.value_length"];
            of_family.extend(of_heads.map(|key| (key, size("head_dim"))));
        }
        if architecture == "llama" {
            of_family.push(("rope.dimension_count", Stored::U32(u32::try_from(self.head_dim()).unwrap())));
            of_family.push(("vocab_size", size("vocab_size")));
        }
        if architecture == "gemma3" {
            let types = self.config["layer_types"].as_array().unwrap();
            let is_sliding = types.iter().map(|kind| kind == "sliding_attention").collect();
            let theta = rope["sliding_attention"]["rope_theta"].as_f64().unwrap() as f32;
            of_family.push(("attention.sliding_window", size("sliding_window")));
            of_family.push(("attention.sliding_window_pattern", Stored::Array(Array::Bool(is_sliding))));
            of_family.push(("rope.freq_base_swa", Stored::F32(theta)));
        }
        let mut factors = Vec::new();
        if architecture == "phi3" {
            let partial = rope["partial_rotary_factor"].as_f64().unwrap_or(1.0);
            of_family.push(("rope.dimension_count", Stored::U32((self.head_dim() as f64 * partial) as u32)));
            of_family.push(("rope.scaling.original_context_length", size("original_max_position_embeddings")));
            let window = self.config["sliding_window"].as_u64().unwrap_or(0);
            of_family.push(("attention.sliding_window", Stored::U32(u32::try_from(window).unwrap())));
            if rope["rope_type"] == "longrope" {
                let number = |key: &str| self.config[key].as_f64().unwrap();
                let original = number("original_max_position_embeddings");
                let factor = (1.0 + (number("max_position_embeddings") / original).ln() / original.ln()).sqrt();
                of_family.push(("rope.scaling.attn_factor", Stored::F32(factor as f32)));
                for (key, name) in [("short_factor", "rope_factors_short"), ("long_factor", "rope_factors_long")] {
                    let list = rope[key].as_array().unwrap().iter();
                    let list: Vec<f32> = list.map(|factor| factor.as_f64().unwrap() as f32).collect();
                    factors.push((format!("{name}.weight"), list));
                }
            }
        }
        let of_family = of_family.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value));
        let vocabulary = vocabulary();
        let mut keys = [
            ("general.architecture", Stored::from(architecture)),
            ("tokenizer.ggml.model", Stored::from("gpt2")),
            ("tokenizer.ggml.pre", Stored::from("smollm")),
            ("tokenizer.ggml.tokens", Stored::Array(Array::String(vocabulary.tokens))),
            ("tokenizer.ggml.token_type", Stored::Array(Array::I32(vocabulary.token_types))),
            ("tokenizer.ggml.merges", Stored::Array(Array::String(vec![]))),
            ("tokenizer.ggml.bos_token_id", Stored::U32(1)),
            ("tokenizer.ggml.eos_token_id", Stored::U32(2)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec();
        keys.splice(1..1, of_family);
        for (key, value) in &self.keys {
            keys.retain(|(other, _)| other != key);
            keys.push(((*key).to_owned(), value.clone()));
        }
        let mut writer = keys.into_iter().fold(Writer::new(), |writer, (key, value)| writer.with(&key, value));
        let mut values = BTreeMap::new();
        for (name, (shape, tensor)) in &self.tensors {
            let is_rotated = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight");
            let is_permuted = is_rotated && architecture == "llama";
            let mut tensor = if is_permuted { self.permuted(shape, tensor) } else { tensor.clone() };
            if architecture == "gemma3" && name.ends_with("norm.weight") {
                tensor.iter_mut().for_each(|weight| *weight += 1.0);
            }
            let (dtype, bytes) = match self.blocks.get(name) {
                Some((dtype, bytes)) => (*dtype, bytes.clone()),
                None => (Dtype::F32, quant::encode_f32(&tensor)),
            };
            let name = gguf_name(name, architecture);
            writer = writer.with_tensor(TensorSpec::new(name.clone(), dtype, shape.as_slice()));
            values.insert(name, bytes);
        }
        let more = self.gguf_tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone()));
        for (name, tensor) in more.chain(factors) {
            writer = writer.with_tensor(TensorSpec::new(name.clone(), Dtype::F32, [tensor.len()]));
            values.insert(name, quant::encode_f32(&tensor));
        }
        writer
            .write(path, |spec| Ok::<_, aludel_formats::Error>(Cow::Borrowed(values[&spec.name].as_slice())))
            .unwrap();
    }

    fn head_dim(&self) -> usize {
        let size = |key: &str| self.config[key].as_u64().map(|size| size as usize);
        size("head_dim").unwrap_or_else(|| size("hidden_size").unwrap() / size("num_attention_heads").unwrap())
    }

    /// Rows of a head from two halves to pairs.
    fn permuted(&self, shape: &[usize], values: &[f32]) -> Vec<f32> {
        let (columns, head_dim) = (shape[1], self.head_dim());
        let heads = values.chunks_exact(head_dim * columns);
        let pairs = heads.flat_map(|head| {
            let (low, high) = head.split_at(head.len() / 2);
            low.chunks_exact(columns).zip(high.chunks_exact(columns)).flat_map(|(low, high)| [low, high])
        });
        pairs.flatten().copied().collect()
    }
}

fn gguf_name(name: &str, architecture: &str) -> String {
    let after_attention = if architecture == "gemma3" { "post_attention_norm" } else { "ffn_norm" };
    [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", after_attention),
        ("pre_feedforward_layernorm", "ffn_norm"),
        ("post_feedforward_layernorm", "post_ffw_norm"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.qkv_proj", "attn_qkv"),
        ("mlp.gate_up_proj", "ffn_up"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (hf, gguf)| name.replace(hf, gguf))
}

/// Four control tokens and the letters that byte-level BPE has for the visible bytes of ASCII.
fn vocabulary() -> GgufVocabulary {
    let mut tokens: Vec<String> =
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"].map(str::to_owned).to_vec();
    tokens.extend((b'!'..=b'~').map(|byte| char::from(byte).to_string()));
    let token_types = (0..tokens.len()).map(|id| if id < 4 { 3 } else { 1 }).collect();
    GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: Some("smollm".to_owned()),
        tokens,
        token_types,
        bos_id: Some(1),
        eos_id: Some(2),
        ..GgufVocabulary::default()
    }
}

/// The scaling of `llama3_rope/`.
pub(crate) fn llama3() -> Value {
    json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64})
}
