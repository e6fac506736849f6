//! The seeds of each target: small files that it takes, made here and kept in `fuzz/seeds`. `cargo test -p aludel-fuzz -- --ignored`
//! writes them again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aludel_data::dataset;
use aludel_formats::gguf::{Array, Value as Stored, Writer};
use aludel_formats::{Dtype, TensorSpec, safetensors};
use aludel_kernels::rng;
use aludel_text::{GgufVocabulary, Tokenizer};
use serde_json::{Value, json};

use crate::scratch::Scratch;

/// Where the seeds of a target are kept.
fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target)
}

/// The seeds of a target as they are kept, by their names.
///
/// # Panics
/// If there are none: they are part of the repository.
pub fn read(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder(target)).expect("a folder of seeds for each target");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let seeds = paths.map(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        (name, fs::read(path).expect("a readable seed"))
    });
    seeds.collect()
}

/// The seeds made anew: folder, name and contents.
///
/// # Panics
/// If one cannot be made.
pub fn generated() -> Vec<(PathBuf, String, Vec<u8>)> {
    let scratch = Scratch::create();
    let mut seeds = Vec::new();
    let mut add = |target: &str, name: &str, bytes: Vec<u8>| seeds.push((folder(target), name.to_owned(), bytes));
    add("gguf", "llama.gguf", gguf(&scratch, "llama"));
    add("gguf", "qwen3.gguf", gguf(&scratch, "qwen3"));
    add("safetensors", "mixed.safetensors", safetensors(&scratch));
    for (name, value) in model_configs() {
        add("model_config", name, text(&value));
    }
    for (name, value) in adapter_configs() {
        add("adapter_config", name, text(&value));
    }
    for (name, value) in tokenizers() {
        add("tokenizer_json", name, text(&value));
    }
    for (name, source) in TEMPLATES {
        add("chat_template", name, source.into());
    }
    for (name, lines) in TABLES {
        add("parquet", name, parquet(&scratch, lines));
    }
    for (name, body) in BODIES {
        add("sse", name, body.into());
    }
    seeds
}

fn text(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

/// Four control tokens and the letters that byte-level BPE has for the visible bytes of ASCII.
pub(crate) fn vocabulary() -> GgufVocabulary {
    let mut tokens: Vec<String> =
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"].map(str::to_owned).to_vec();
    tokens.extend((b'!'..=b'~').map(|byte| char::from(byte).to_string()));
    tokens.extend(["Ġ", "Ċ", "th"].map(str::to_owned));
    GgufVocabulary {
        model: "gpt2".to_owned(),
        pre: Some("smollm".to_owned()),
        token_types: (0..tokens.len()).map(|id| if id < 4 { 3 } else { 1 }).collect(),
        tokens,
        merges: vec!["t h".to_owned()],
        bos_id: Some(1),
        eos_id: Some(2),
        ..GgufVocabulary::default()
    }
}

/// A model of one layer, with weights in three encodings.
fn gguf(scratch: &Scratch, family: &str) -> Vec<u8> {
    const HIDDEN: usize = 32;
    let vocabulary = vocabulary();
    let number = |key: &str, value: u32| (format!("{family}.{key}"), Stored::U32(value));
    let mut keys = vec![
        ("general.architecture".to_owned(), Stored::from(family)),
        ("general.name".to_owned(), Stored::from("seed")),
        number("block_count", 1),
        number("context_length", 64),
        number("embedding_length", HIDDEN as u32),
        number("feed_forward_length", 32),
        number("attention.head_count", 4),
        number("attention.head_count_kv", 2),
        number("attention.key_length", 8),
        number("attention.value_length", 8),
        (format!("{family}.rope.freq_base"), Stored::F32(10_000.0)),
        (format!("{family}.attention.layer_norm_rms_epsilon"), Stored::F32(1e-5)),
        ("tokenizer.ggml.model".to_owned(), Stored::from("gpt2")),
        ("tokenizer.ggml.pre".to_owned(), Stored::from("smollm")),
        ("tokenizer.ggml.tokens".to_owned(), Stored::Array(Array::String(vocabulary.tokens.clone()))),
        ("tokenizer.ggml.token_type".to_owned(), Stored::Array(Array::I32(vocabulary.token_types.clone()))),
        ("tokenizer.ggml.merges".to_owned(), Stored::Array(Array::String(vocabulary.merges.clone()))),
        ("tokenizer.ggml.bos_token_id".to_owned(), Stored::U32(1)),
        ("tokenizer.ggml.eos_token_id".to_owned(), Stored::U32(2)),
        ("tokenizer.chat_template".to_owned(), Stored::from(TEMPLATES[0].1)),
    ];
    if family == "llama" {
        keys.push(number("rope.dimension_count", 8));
    }
    let mut tensors = vec![
        ("token_embd.weight", Dtype::Q8_0, vec![vocabulary.tokens.len(), HIDDEN]),
        ("output_norm.weight", Dtype::F32, vec![HIDDEN]),
        ("blk.0.attn_norm.weight", Dtype::F32, vec![HIDDEN]),
        ("blk.0.ffn_norm.weight", Dtype::F32, vec![HIDDEN]),
        ("blk.0.attn_q.weight", Dtype::F16, vec![32, HIDDEN]),
        ("blk.0.attn_k.weight", Dtype::Q8_0, vec![16, HIDDEN]),
        ("blk.0.attn_v.weight", Dtype::Q8_0, vec![16, HIDDEN]),
        ("blk.0.attn_output.weight", Dtype::Q8_0, vec![HIDDEN, 32]),
        ("blk.0.ffn_gate.weight", Dtype::Q8_0, vec![32, HIDDEN]),
        ("blk.0.ffn_up.weight", Dtype::Q8_0, vec![32, HIDDEN]),
        ("blk.0.ffn_down.weight", Dtype::Q8_0, vec![HIDDEN, 32]),
    ];
    if family == "qwen3" {
        tensors
            .extend(["blk.0.attn_q_norm.weight", "blk.0.attn_k_norm.weight"].map(|name| (name, Dtype::F32, vec![8])));
    }
    let writer = keys.into_iter().fold(Writer::new(), |writer, (key, value)| writer.with(&key, value));
    let writer = tensors.into_iter().fold(writer, |writer, (name, dtype, shape)| {
        writer.with_tensor(TensorSpec::new(name, dtype, shape.as_slice()))
    });
    written(scratch, |path| writer.write(path, content).expect("a seed that can be written"))
}

/// Bytes of a tensor, all finite in its encoding, that differ from tensor to tensor.
fn content(tensor: &TensorSpec) -> Result<Cow<'static, [u8]>, aludel_formats::Error> {
    let key = tensor.name.bytes().fold(7, |key, byte| rng::mix(key, u64::from(byte)));
    let count = tensor.byte_count().unwrap_or_default() as u64;
    // No exponent of a half or a float is all ones in bytes below 0x60.
    Ok((0..count).map(|index| (rng::mix(key, index) % 0x60) as u8).collect::<Vec<u8>>().into())
}

fn safetensors(scratch: &Scratch) -> Vec<u8> {
    let mut tensors: Vec<TensorSpec> = Dtype::all()
        .filter(|dtype| !dtype.is_quantised())
        .map(|dtype| TensorSpec::new(format!("model.{}", dtype.name()), dtype, [3, 5]))
        .collect();
    tensors.push(TensorSpec::new("scalar", Dtype::F32, []));
    tensors.push(TensorSpec::new("empty", Dtype::F32, [0, 4]));
    let metadata = safetensors::hf_metadata();
    written(scratch, |path| {
        safetensors::save_file(path, &tensors, &metadata, content).expect("a seed that can be written");
    })
}

fn written(scratch: &Scratch, write: impl FnOnce(&Path)) -> Vec<u8> {
    let path = scratch.path().join("seed");
    write(&path);
    fs::read(path).expect("what was just written")
}

fn parquet(scratch: &Scratch, lines: &str) -> Vec<u8> {
    let from = scratch.path().join("rows.jsonl");
    fs::write(&from, lines).expect("room for a temporary file");
    written(scratch, |path| dataset::write_parquet(&from, path, path).expect("rows that fit a table"))
}

fn model_configs() -> Vec<(&'static str, Value)> {
    let llama = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 160, "hidden_size": 64,
        "intermediate_size": 112, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 512, "hidden_act": "silu",
        "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": [2, 3],
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64},
    });
    let qwen = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 160, "hidden_size": 64,
        "intermediate_size": 112, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "rms_norm_eps": 1e-6, "max_position_embeddings": 512, "hidden_act": "silu", "tie_word_embeddings": false,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}, "sliding_window": null,
        "use_sliding_window": false, "eos_token_id": 2,
    });
    vec![("llama.json", llama), ("qwen3.json", qwen)]
}

fn adapter_configs() -> Vec<(&'static str, Value)> {
    let names = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "some/model", "r": 4, "lora_alpha": 8,
        "lora_dropout": 0.05, "target_modules": ["q_proj", "v_proj"], "bias": "none", "fan_in_fan_out": false,
        "use_rslora": false, "use_dora": false, "modules_to_save": null, "inference_mode": true, "init_lora_weights": true,
        "layers_to_transform": [0, 1], "layers_pattern": "layers",
    });
    let patterns = json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8.0, "use_rslora": true, "use_dora": true, "bias": "lora_only",
        "target_modules": r".*\.layers\.\d+\.(self_attn|mlp)\.(?:[qkvo]|gate|up|down)_proj", "exclude_modules": ["lm_head"],
        "rank_pattern": {r"layers\.[0-3]\..*q_proj": 4, "v_proj": 16}, "alpha_pattern": {"^model.layers.1.": 32},
    });
    vec![("names.json", names), ("patterns.json", patterns)]
}

fn tokenizers() -> Vec<(&'static str, Value)> {
    let tokenizer = Tokenizer::from_gguf(&vocabulary(), "seed").expect("a good vocabulary");
    let byte_level: Value =
        serde_json::from_str(&tokenizer.to_json().expect("a tokenizer as text")).expect("JSON, as it was written");
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true})
    };
    let letters = ["▁", "a", "b", "c", "d", "e", "h", "l", "o", "r", "w", "▁hello", "▁wor", "ld"];
    let mut pieces = vec![json!(["<unk>", 0.0])];
    pieces.extend(letters.iter().enumerate().map(|(rank, piece)| json!([piece, -1.0 - 0.5 * rank as f64])));
    let unigram = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(0, "<unk>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false},
    });
    vec![("byte_level.json", byte_level), ("unigram.json", unigram)]
}

const TEMPLATES: [(&str, &str); 3] = [
    (
        "chatml.jinja",
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}\
         {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ),
    (
        "reasoning.jinja",
        "{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' ~ messages[0].content | trim ~ '<|im_end|>\\n' }}\
         {%- endif %}\n{%- set ns = namespace(last=messages | length - 1) %}\n{%- for m in messages if m.role != 'system' %}\n\
         {{- '<|im_start|>' ~ m.role ~ '\\n' }}\n{%- if m.role == 'assistant' and m.reasoning_content is defined and m.reasoning_content %}\n\
         {{- '<think>\\n' ~ m.reasoning_content.strip('\\n') ~ '\\n</think>\\n\\n' }}{%- endif %}\n\
         {{- m.content.split('</think>')[-1].lstrip('\\n') }}{{- '<|im_end|>\\n' }}\n{%- endfor %}\n\
         {%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
    ),
    (
        "macro.jinja",
        "{% macro turn(role, text) %}<|im_start|>{{ role }}\n{{ text }}<|im_end|>\n{% endmacro %}\
         {% for m in messages %}{% if loop.first and m['role'] not in ['system', 'user'] %}{{ raise_exception('no start') }}{% endif %}\
         {{ turn(m['role'] | lower, m['content']) }}{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    ),
];

const TABLES: [(&str, &str); 2] = [
    (
        "prompts.parquet",
        "{\"prompt\": \"6 x 7?\", \"response\": \"42\", \"weight\": 0.5}\n{\"prompt\": \"And 2 x 3?\", \"response\": \"6\", \"weight\": 1.0}\n",
    ),
    (
        "messages.parquet",
        "{\"id\": 1, \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}, {\"role\": \"assistant\", \"content\": \"Good day\"}], \"ok\": true}\n\
         {\"id\": 2, \"messages\": [{\"role\": \"user\", \"content\": \"1+1?\"}, {\"role\": \"assistant\", \"content\": \"2\"}], \"ok\": null}\n",
    ),
];

const BODIES: [(&str, &str); 4] = [
    (
        "openai.sse",
        ": keep-alive\n\nid: 1\ndata: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"reasoning_content\":\"Six \"}}]}\n\n\
         id: 2\r\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"4\"}}]}\r\n\r\n\
         data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"2\"},\"finish_reason\":\"stop\"}]}\n\n\
         data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
    ),
    (
        "openai.json",
        "{\"model\":\"m\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"<think>six</think>42\"},\
         \"logprobs\":{\"content\":[{\"token\":\"42\",\"logprob\":-0.5,\"bytes\":[52,50],\"top_logprobs\":[]}]}}],\
         \"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9,\"completion_tokens_details\":{\"reasoning_tokens\":3}}}",
    ),
    (
        "ollama.ndjson",
        "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"six\"},\"done\":false}\n\
         {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"42\"},\"done\":false}\n\
         {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":5,\"eval_count\":2}\n",
    ),
    (
        "parts.sse",
        "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"a\"}]},{\"type\":\"text\",\"text\":\"b 中\"}]},\
         \"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ),
];
