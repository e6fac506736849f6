//! What a model file says beyond sizes and weights: rotary scaling against numbers of PyTorch (`tools/golden/rope.py`); keys,
//! tensors and values that are refused by name, or change nothing.
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::path::Path;

use aludel_formats::gguf::{Array, Value as Stored};
use aludel_formats::safetensors;
use aludel_kernels::Context;
use aludel_kernels::check::{assert_close, wide};
use aludel_kernels::linear::Precision;
use aludel_model::config::{Config, RopeScaling};
use aludel_model::decoder::{Decoder, WeightFormat};
use aludel_model::student::Student;
use common::{Model, assert_holds, fixture, ids, llama3, logits, tensor};
use serde_json::{Value, json};

const DIVISORS: &str = "rope_freqs.weight";
const Q: &str = "model.layers.0.self_attn.q_proj.weight";

/// Numbers of PyTorch, and the row that they belong to.
struct Golden {
    ids: Vec<u32>,
    ours: safetensors::Weights,
    llama3: safetensors::Weights,
}

impl Golden {
    fn open() -> Golden {
        let open = |name: &str| safetensors::Weights::open_file(fixture(name)).unwrap();
        Golden {
            ids: ids("llama3_rope"),
            ours: open("rope/golden.safetensors"),
            llama3: open("llama3_rope/golden.safetensors"),
        }
    }

    fn check(&self, what: &str, path: &Path, wanted: &str) -> Config {
        let wanted = match wanted {
            "llama3" => tensor(&self.llama3, "logits.base.1"),
            other => tensor(&self.ours, &format!("logits.{other}")),
        };
        let student = Student::open(path).unwrap();
        assert_close(what, &logits(&student, &self.ids), &wide(&wanted), 2e-5);
        student.config
    }

    fn divisors(&self, name: &str) -> Vec<f32> {
        tensor(&self.ours, &format!("divisors.{name}"))
    }
}

#[test]
fn files_of_each_family_give_the_logits_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, path) = (folder.path().join("model"), folder.path().join("model.gguf"));
    for name in [
        "tied",
        "untied",
        "mistral",
        "mistral_window",
        "qwen2_tied",
        "qwen2_untied",
        "qwen3_tied",
        "qwen3_untied",
        "qwen3_window",
        "gemma3",
        "phi3",
        "phi3_long",
    ] {
        let model = Model::of(name);
        model.write_folder(&directory);
        model.write_gguf(&path);
        let golden = safetensors::Weights::open_file(fixture(name).join("golden.safetensors")).unwrap();
        let wanted = wide(&tensor(&golden, "logits.base.1"));
        // a GGUF file of these architectures says nothing of a window
        let holds_all = !name.ends_with("_window");
        for path in [Some(&directory), holds_all.then_some(&path)].into_iter().flatten() {
            let student = Student::open(path).unwrap();
            assert_close(&format!("{name}: {}", path.display()), &logits(&student, &ids(name)), &wanted, 2e-5);
            // and what is written for others describes the same model
            let config = student.config.to_hf("float32", path).unwrap();
            assert_eq!(Config::from_hf(&config, Path::new("config.json")).unwrap(), student.config);
        }
    }
}

#[test]
fn qwen3_has_norms_of_heads_and_mistral_no_biases() {
    let config = |name: &str, key: &str, value: Value| {
        let path = Path::new("config.json");
        Config::from_hf(&Model::of(name).with(key, value).config, path).map_err(|error| error.to_string())
    };
    assert_eq!(config("qwen3_tied", "head_dim", Value::Null).unwrap().head_dim, 128);
    let biased = config("qwen3_tied", "attention_bias", json!(true)).unwrap();
    assert_eq!(biased.biases[..7], [true, true, true, true, false, false, false]);
    for (name, key, wrong) in [
        ("qwen3_tied", "mlp_bias", json!(true)),
        ("qwen3_tied", "num_experts", json!(8)),
        ("mistral", "attention_bias", json!(true)),
    ] {
        let error = config(name, key, wrong).unwrap_err();
        assert_holds(&error, &["config.json", key]);
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut lacking = Model::of("qwen3_tied");
    lacking.tensors.remove("model.layers.1.self_attn.k_norm.weight");
    lacking.write_gguf(&path);
    assert_holds(&refusal(&path), &["blk.1.attn_k_norm.weight"]);
}

#[test]
fn qwen2_has_keys_and_biases_of_its_own() {
    let config = |key: &str, value: Value| {
        let path = Path::new("config.json");
        Config::from_hf(&Model::of("qwen2_tied").with(key, value).config, path).map_err(|error| error.to_string())
    };
    config("sliding_window", json!(64)).unwrap();
    config("max_window_layers", json!(1)).unwrap();
    config("qkv_bias", json!(true)).unwrap();
    assert_eq!(config("num_key_value_heads", Value::Null).unwrap().num_key_value_heads, 4);
    let mut without = Model::of("qwen2_tied").config;
    without.as_object_mut().unwrap().remove("num_key_value_heads");
    let error = Config::from_hf(&without, Path::new("config.json")).unwrap_err().to_string();
    assert_holds(&error, &["num_key_value_heads: 32 does not divide"]);
    for (key, wrong) in [
        ("attention_bias", json!(true)),
        ("mlp_bias", json!(true)),
        ("qkv_bias", json!(false)),
        ("use_mrope", json!(true)),
        ("model_type", json!("llama")),
        ("layer_types", json!(["full_attention", "sliding_attention"])),
    ] {
        let error = config(key, wrong).unwrap_err();
        assert!(error.contains("config.json") && (error.contains(key) || key == "model_type"), "{error}");
    }

    let folder = tempfile::tempdir().unwrap();
    let (directory, path) = (folder.path().join("model"), folder.path().join("model.gguf"));
    Model::of("qwen2_tied")
        .with_tensor("model.layers.0.self_attn.o_proj.bias", &[64], vec![1.0; 64])
        .write_folder(&directory);
    assert_holds(&refusal(&directory), &["model.layers.0.self_attn.o_proj.bias", "Qwen2ForCausalLM"]);
    Model::of("qwen2_tied").with_gguf_tensor(DIVISORS, vec![1.0; 8]).write_gguf(&path);
    assert_holds(&refusal(&path), &[DIVISORS, "Qwen2ForCausalLM"]);
    let mut lacking = Model::of("qwen2_tied");
    lacking.tensors.remove("model.layers.1.self_attn.k_proj.bias");
    lacking.write_gguf(&path);
    assert_holds(&refusal(&path), &["blk.1.attn_k.bias"]);
}

#[test]
fn rotary_settings_of_gguf_files_give_the_logits_of_transformers() {
    let golden = Golden::open();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let check = |what: &str, model: Model, wanted: &str| {
        model.write_gguf(&path);
        golden.check(what, &path, wanted).rope_scaling
    };
    let with = |name: &str| Model::open().with_gguf_tensor(DIVISORS, golden.divisors(name));
    assert_eq!(check("nothing", Model::open(), "plain"), RopeScaling::None);
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64.0,
    };
    assert_eq!(check("divisors of llama3", with("llama3"), "llama3"), scaling);
    check("other divisors", with("other"), "other");
    let ones = Model::open().with_gguf_tensor(DIVISORS, vec![1.0; 16]);
    assert_eq!(check("divisors of one", ones, "plain"), RopeScaling::None);

    const TYPE: &str = "llama.rope.scaling.type";
    const FACTOR: &str = "llama.rope.scaling.factor";
    const OLD: &str = "llama.rope.scale_linear";
    let linear = RopeScaling::Linear { factor: 2.5 };
    assert_eq!(check("type", Model::open().with_key(TYPE, "linear").with_key(FACTOR, 2.5f32), "linear"), linear);
    assert_eq!(check("no type", Model::open().with_key(FACTOR, 2.5f32), "linear"), linear);
    assert_eq!(check("the old key", Model::open().with_key(OLD, 2.5f32), "linear"), linear);
    check("both keys", Model::open().with_key(FACTOR, 2.5f32).with_key(OLD, 2.5f32), "linear");
    check("type none", Model::open().with_key(TYPE, "none").with_key(FACTOR, 2.5f32), "plain");
    check("no factor", Model::open().with_key(TYPE, "linear"), "plain");
    check("divisors and factor", with("other").with_key(FACTOR, 2.5f32), "other_linear");
    check("divisors and type none", with("other").with_key(TYPE, "none").with_key(FACTOR, 2.5f32), "other");
}

#[test]
fn rotary_settings_of_folders_give_the_logits_of_transformers() {
    let golden = Golden::open();
    let folder = tempfile::tempdir().unwrap();
    let check = |old: Value, new: Value, wanted: &str| {
        let what = format!("{old} {new}");
        Model::open().with("rope_scaling", old).with("rope_parameters", new).write_folder(folder.path());
        golden.check(&what, folder.path(), wanted);
    };
    let none = Value::Null;
    check(none.clone(), none.clone(), "plain");
    check(json!({}), none.clone(), "plain");
    check(json!({"type": "default"}), none.clone(), "plain");
    check(json!({"type": "linear", "factor": 2.5}), none.clone(), "linear");
    check(json!({"rope_type": "linear", "type": "linear", "factor": 2.5}), none.clone(), "linear");
    check(none.clone(), json!({"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0}), "linear");
    check(json!({"type": "linear", "factor": 2.5}), json!({"rope_type": "linear", "factor": 2.5}), "linear");
    check(llama3(), none.clone(), "llama3");
    check(none, llama3(), "llama3");
}

/// What opening says.
fn refusal(path: &Path) -> String {
    match Student::open(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn rotary_settings_without_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let check = |model: Model, parts: &[&str]| {
        model.write_gguf(&path);
        assert_holds(&refusal(&path), &[&["model.gguf"], parts].concat());
    };
    for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let mut divisors = vec![1.0; 16];
        divisors[3] = wrong;
        check(Model::open().with_gguf_tensor(DIVISORS, divisors), &[DIVISORS]);
        for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
            check(Model::open().with_key(key, wrong), &[key, "a positive number would"]);
        }
    }
    check(Model::open().with_gguf_tensor(DIVISORS, vec![1.0; 8]), &[DIVISORS, "[8]", "[16]"]);
    check(Model::open().with_gguf_tensor("blk.0.rope_freqs.weight", vec![1.0; 16]), &["blk.0.rope_freqs.weight"]);
    let both = Model::open().with_key("llama.rope.scaling.factor", 2.0f32).with_key("llama.rope.scale_linear", 4.0f32);
    check(both, &["llama.rope.scale_linear", "contradicts"]);
    for kind in ["yarn", "longrope", "su", ""] {
        check(Model::open().with_key("llama.rope.scaling.type", kind), &["llama.rope.scaling.type", kind]);
    }

    let config = |old: Value, new: Value, part: &str| {
        let model = Model::open().with("rope_scaling", old).with("rope_parameters", new);
        let error = Config::from_hf(&model.config, Path::new("config.json")).unwrap_err().to_string();
        assert_holds(&error, &["config.json: rope_", part]);
    };
    let none = || Value::Null;
    for kind in ["yarn", "dynamic", "longrope", "su", "mrope", "proportional", "Linear"] {
        config(json!({"rope_type": kind, "factor": 2.0}), none(), kind);
        config(json!({"type": kind, "factor": 2.0}), none(), kind);
        config(none(), json!({"rope_type": kind, "factor": 2.0}), kind);
    }
    config(json!({"rope_type": "default", "type": "mrope"}), none(), "rope_scaling.type");
    config(json!({"type": "default", "mrope_section": [16, 24, 24]}), none(), "mrope_section");
    config(json!({"factor": 4.0}), none(), "rope_scaling.factor");
    config(json!({"type": "linear", "factor": 0}), none(), "rope_scaling.factor");
    config(json!({"type": "linear", "factor": -2.0}), none(), "rope_scaling.factor");
    config(json!({"type": "linear", "factor": "2"}), none(), "rope_scaling.factor");
    config(json!({"type": "linear", "factor": 2.0, "attention_factor": 1.2}), none(), "attention_factor");
    config(json!({"type": "default", "partial_rotary_factor": 0.5}), none(), "partial_rotary_factor");
    config(json!("linear"), none(), "should be an object");
    config(none(), json!({"full_attention": {"rope_type": "default"}}), "full_attention");
    config(json!({"type": "linear", "factor": 2.0}), json!({"rope_type": "default"}), "contradicts");
    config(none(), json!({"rope_type": "default", "rope_theta": 500_000.0}), "contradicts");
    let mut scaling = llama3();
    scaling["high_freq_factor"] = json!(1.0);
    config(scaling, none(), "high_freq_factor");
}

#[test]
fn keys_that_change_the_arithmetic_are_refused_and_neutral_ones_are_not() {
    let config = |key: &str, value: &Value| {
        let path = Path::new("config.json");
        Config::from_hf(&Model::open().with(key, value.clone()).config, path).map_err(|error| error.to_string())
    };
    for (key, wrong, right) in [
        ("hidden_act", json!("gelu"), json!("swish")),
        ("hidden_act", json!(3), json!("silu")),
        ("model_type", json!("gemma"), Value::Null),
        ("sliding_window", json!(511), json!(512)),
        ("sliding_window", json!("wide"), Value::Null),
        ("layer_types", json!(["full_attention", "sliding_attention"]), json!(["full_attention", "full_attention"])),
        ("attention_multiplier", json!(0.5), json!(1.0 / 32f64.sqrt())),
        ("query_pre_attn_scalar", json!(256), json!(32)),
        ("embedding_multiplier", json!(12), json!(1)),
        ("residual_multiplier", json!(0.22), json!(1.0)),
        ("logits_scaling", json!(8), json!(1)),
        ("logit_scale", json!(0.0625), json!(1.0)),
        ("final_logit_softcapping", json!(30.0), Value::Null),
        ("partial_rotary_factor", json!(0.5), json!(1.0)),
        ("quantization_config", json!({"quant_method": "gptq"}), Value::Null),
        ("num_local_experts", json!(8), json!(0)),
        ("qk_norm", json!(true), json!(false)),
        ("is_causal", json!(false), json!(true)),
        ("attention_dropout", json!(0.1), json!(0.0)),
        ("auto_map", json!({"AutoModelForCausalLM": "modeling.Model"}), json!({})),
        ("a_key_of_tomorrow", json!(false), Value::Null),
    ] {
        let error = config(key, &wrong).unwrap_err();
        let named = if key == "model_type" { "gemma" } else { key };
        assert!(error.contains("config.json") && error.contains(named), "{error}");
        config(key, &right).unwrap();
    }
    config("pretraining_tp", &json!(2)).unwrap();
    config("unsloth_fixed", &json!(true)).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let open = |key: &'static str, value: Stored| {
        Model::open().with_key(key, value).write_gguf(&path);
        Student::open(&path).map(|student| student.config).map_err(|error| error.to_string())
    };
    for (key, wrong, right) in [
        ("llama.attention.scale", Stored::F32(0.5), Stored::F32(1.0 / 32f32.sqrt())),
        ("llama.attention.key_length", Stored::U32(16), Stored::U32(32)),
        ("llama.attention.value_length", Stored::U32(16), Stored::U32(32)),
        ("llama.rope.dimension_count", Stored::U32(16), Stored::U32(32)),
        ("llama.attention.sliding_window", Stored::U32(128), Stored::U32(512)),
        ("llama.attention.causal", Stored::Bool(false), Stored::Bool(true)),
        ("llama.expert_count", Stored::U32(8), Stored::U32(0)),
        ("llama.logit_scale", Stored::F32(f32::NAN), Stored::F32(1.0)),
        ("llama.residual_scale", Stored::F32(0.22), Stored::F32(1.0)),
        ("llama.embedding_scale", Stored::F32(12.0), Stored::F32(1.0)),
        ("llama.final_logit_softcapping", Stored::F32(30.0), Stored::F32(0.0)),
        ("llama.rope.scaling.attn_factor", Stored::F32(1.2), Stored::F32(1.0)),
        ("llama.rope.scaling.yarn_ext_factor", Stored::F32(1.0), Stored::F32(0.0)),
        ("llama.attention.head_count", Stored::Array(Array::U32(vec![4, 2])), Stored::Array(Array::U32(vec![4, 4]))),
        ("llama.tensor_data_layout", Stored::from("reversed"), Stored::from("Meta AI original pth")),
        ("split.count", Stored::U16(2), Stored::U16(1)),
        ("general.type", Stored::from("adapter"), Stored::from("model")),
        ("tokenizer.ggml.remove_extra_whitespaces", Stored::Bool(true), Stored::Bool(false)),
        ("tokenizer.ggml.precompiled_charsmap", Stored::Array(Array::U8(vec![1])), Stored::Array(Array::U8(vec![]))),
        ("llama.rope.a_key_of_tomorrow", Stored::Bool(false), Stored::U32(0)),
    ] {
        let error = open(key, wrong).unwrap_err();
        // a length of heads that is wrong is found where it first contradicts another
        let named = if key == "llama.attention.key_length" { "llama." } else { key };
        assert!(error.contains("model.gguf") && error.contains(named), "{error}");
        match key {
            "llama.rope.a_key_of_tomorrow" => assert_holds(&open(key, right).unwrap_err(), &[key, "--remove-metadata"]),
            _ => drop(open(key, right).unwrap()),
        }
    }
    let unknown = open("tokenizer.ggml.a_key_of_tomorrow", Stored::Bool(true)).unwrap_err();
    assert_holds(&unknown, &["tokenizer.ggml.a_key_of_tomorrow", "may change ids", "Hugging Face folder"]);
    open("tokenizer.chat_template.tool_use", Stored::from("{{ messages }}")).unwrap();
    open("quantize.imatrix.file", Stored::from("imatrix.dat")).unwrap();
    open("llama.rope.scaling.finetuned", Stored::Bool(true)).unwrap();
}

#[test]
fn tensors_that_are_not_used_are_refused_unless_they_are_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("model");
    let write = |model: Model| model.write_folder(&directory);
    for (name, part) in [
        ("model.layers.0.self_attn.q_proj.bias", "attention_bias"),
        ("model.layers.0.self_attn.q_norm.weight", "no part of a LlamaForCausalLM"),
        ("model.layers.0.self_attn.q_proj.weight_scale", "no part of"),
        ("model.layers.0.mlp.experts.0.gate_proj.weight", "no part of"),
        ("model.layers.2.input_layernorm.weight", "layer 2, but the config asks for 2"),
        ("model.layers.00.input_layernorm.weight", "no part of"),
        ("inv_freq", "no part of"),
    ] {
        write(Model::open().with_tensor(name, &[2], vec![1.0; 2]));
        assert_holds(&refusal(&directory), &["model.safetensors", name, part]);
    }
    write(Model::open().with_tensor("model.layers.1.self_attn.rotary_emb.inv_freq", &[16], vec![7.0; 16]));
    Student::open(&directory).unwrap();
    // a tied head may be stored a second time, but no other in its place
    let (shape, mut values) = Model::open().tensors["model.embed_tokens.weight"].clone();
    write(Model::open().with_tensor("lm_head.weight", &shape, values.clone()));
    Student::open(&directory).unwrap();
    values[5] += 1.0;
    write(Model::open().with_tensor("lm_head.weight", &shape, values));
    assert_holds(&refusal(&directory), &["lm_head.weight", "tie_word_embeddings"]);
    let mut lacking = Model::open();
    lacking.tensors.remove(Q);
    std::fs::remove_dir_all(&directory).unwrap();
    write(lacking);
    assert_holds(&refusal(&directory), &[Q]);

    let path = folder.path().join("model.gguf");
    for (name, part) in [
        ("blk.0.attn_q.bias", "Hugging Face folder"),
        ("blk.1.attn_q_norm.weight", "no part of"),
        ("blk.0.ffn_gate_exps.weight", "no part of"),
        ("blk.0.attn_q.scale", "no part of"),
        ("blk.2.attn_norm.weight", "layer 2, but the config asks for 2"),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "no part of"),
        ("output_norm.bias", "Hugging Face folder"),
    ] {
        Model::open().with_gguf_tensor(name, vec![1.0; 2]).write_gguf(&path);
        assert_holds(&refusal(&path), &["model.gguf", name, part]);
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_with_file_and_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, path) = (folder.path().join("model"), folder.path().join("model.gguf"));
    for (name, stored) in [
        (Q, "blk.0.attn_q.weight"),
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.1.input_layernorm.weight", "blk.1.attn_norm.weight"),
    ] {
        for (n, wrong) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().enumerate() {
            let mut model = Model::open();
            let values = &mut model.tensors.get_mut(name).unwrap().1;
            let last = values.len() - 1;
            values[last * n / 2] = wrong;
            model.write_folder(&directory);
            model.write_gguf(&path);
            for (opened, file, name) in [(&directory, "model.safetensors", name), (&path, "model.gguf", stored)] {
                for format in [WeightFormat::Packed(Precision::Bf16), WeightFormat::Integers] {
                    let student = Student::open(opened).unwrap();
                    let loaded = Decoder::load(&mut Context::cpu(1), &student.config, &student.weights, format, 64);
                    let error = loaded.err().unwrap().to_string();
                    assert_holds(&error, &[file, name, "NaN or infinity", "load another copy"]);
                }
            }
        }
    }
}

/// As every command opens a model, `logits` too.
#[test]
fn vocabularies_that_contradict_themselves_are_refused_with_the_file_and_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let one = || Stored::Array(Array::String(vec!["one".to_owned()]));
    for (key, value, part) in [
        ("tokenizer.ggml.merges", one(), "convert or download it again"),
        ("tokenizer.ggml.token_type", Stored::Array(Array::I32(vec![1])), "convert or download it again"),
        ("tokenizer.ggml.eos_token_id", Stored::U32(9_999), "convert or download it again"),
        ("tokenizer.ggml.pre", Stored::from("new"), "load the model's Hugging Face folder"),
        ("tokenizer.ggml.model", Stored::from("t5"), "load the model's Hugging Face folder"),
        ("tokenizer.ggml.tokens", Stored::U32(1), "tokenizer.ggml.tokens"),
    ] {
        Model::open().with_key(key, value).write_gguf(&path);
        let name = key.rsplit('.').next().unwrap();
        assert_holds(&refusal(&path), &["model.gguf", name, part]);
    }
}
