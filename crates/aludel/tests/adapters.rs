//! Adapters through the binary: trained rows and their bounds in every command that loads an adapter, merging with an untied head, modules
//! that cannot learn, and single failed answers.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;
#[path = "adapters/fused.rs"]
mod fused;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aludel_formats::safetensors::{Weights, hf_metadata, save_file};
use aludel_formats::{Dtype, TensorSpec};
use aludel_kernels::quant;
use common::{Workshop, train_args_of};
use serde_json::{Value, json};

fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let rows: String = (0..20)
        .map(|i| {
            let (prompt, response) = (format!("{i}+1?"), format!("{}", i + 1));
            format!("{}\n", json!({"prompt": prompt, "reasoning": "one more", "response": response}))
        })
        .collect();
    workshop.write("rows.jsonl", &rows);
    workshop
}

/// Trains and returns the output, which starts with the exit code.
fn train(workshop: &Workshop, student: &str, output_dir: &str, more: &[&str]) -> String {
    let more = [&["--dtype", "f32", "--learning-rate", "0.05"], more].concat();
    workshop.run(&train_args_of(student, output_dir, &more))
}

/// Writes a file of f32 tensors again, as `change` leaves them.
fn rewrite(path: &Path, change: impl FnOnce(&mut BTreeMap<String, (Vec<usize>, Vec<u8>)>)) {
    let file = Weights::open_file(path).unwrap();
    let tensors = file.tensors().map(|tensor| tensor.unwrap());
    let mut tensors: BTreeMap<_, _> =
        tensors.map(|tensor| (tensor.name.to_owned(), (tensor.shape.clone(), tensor.bytes.to_vec()))).collect();
    change(&mut tensors);
    let specs: Vec<_> =
        tensors.iter().map(|(name, (shape, _))| TensorSpec::new(name, Dtype::F32, shape.clone())).collect();
    save_file(path, &specs, &hf_metadata(), |spec| {
        Ok::<_, aludel_formats::Error>(Cow::Owned(tensors[&spec.name].1.clone()))
    })
    .unwrap();
}

fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A copy of the student, in `untied`, whose head has rows of its own.
fn untie(workshop: &Workshop) {
    copy(&workshop.path("student"), &workshop.path("untied"));
    edit_json(&workshop.path("untied/config.json"), |config| config["tie_word_embeddings"] = false.into());
    rewrite(&workshop.path("untied/model.safetensors"), |tensors| {
        let (shape, bytes) = tensors["model.embed_tokens.weight"].clone();
        let reversed = bytes.chunks_exact(4).rev().flatten().copied().collect();
        tensors.insert("lm_head.weight".to_owned(), (shape, reversed));
    });
}

/// Makes an adapter folder one of PEFT's, which may be changed.
fn unseal(adapter: &Path) {
    fs::remove_file(adapter.join("aludel_manifest.json")).unwrap();
}

/// Leaves the rows of the embedding alone in an adapter folder of an untied model.
fn leave_out_head_rows(adapter: &Path) {
    unseal(adapter);
    edit_json(&adapter.join("adapter_config.json"), |config| {
        let ids = config["trainable_token_indices"]["embed_tokens"].clone();
        config["trainable_token_indices"] = ids;
    });
    rewrite(&adapter.join("adapter_model.safetensors"), |tensors| {
        let count = tensors.len();
        tensors.retain(|name, _| !name.contains("lm_head"));
        assert_eq!(tensors.len() + 1, count);
    });
}

/// A copy of the student, in `qwen2`, as a model of that family, whose queries, keys and values have biases.
fn as_qwen2(workshop: &Workshop) {
    copy(&workshop.path("student"), &workshop.path("qwen2"));
    edit_json(&workshop.path("qwen2/config.json"), |config| {
        config["architectures"] = json!(["Qwen2ForCausalLM"]);
        config["model_type"] = "qwen2".into();
    });
    rewrite(&workshop.path("qwen2/model.safetensors"), |tensors| {
        for module in ["q_proj", "k_proj", "v_proj"] {
            let name = format!("model.layers.0.self_attn.{module}");
            let channels = tensors[&format!("{name}.weight")].0[0];
            let values: Vec<f32> = (0..channels).map(|i| 0.1 * (i as f32).sin()).collect();
            tensors.insert(format!("{name}.bias"), (vec![channels], quant::encode_f32(&values)));
        }
    });
}

/// Logits of a few tokens, in f32.
fn logits(workshop: &Workshop, arguments: &[&str]) -> Vec<f32> {
    let given = ["logits", "--ids", "65,66,67,257,10", "--dtype", "f32", "--output", "l.safetensors", "--overwrite"];
    let said = workshop.run(&[&given[..], arguments].concat());
    assert!(said.contains("exit code: 0"), "{said}");
    f32s(&workshop.path("l.safetensors"), "logits")
}

/// A tensor of a file.
fn f32s(path: &Path, name: &str) -> Vec<f32> {
    let file = Weights::open_file(path).unwrap();
    let view = file.get(name).unwrap();
    let mut values = vec![0.0; view.elements()];
    quant::decode(quant::BlockType::F32, view.bytes, &mut values).unwrap();
    values
}

/// DoRA with dropout and biases from the recipe to the merged model; what a run was stopped at goes on to the same bytes.
#[test]
fn dora_and_biases_are_trained_resumed_and_merged() {
    let workshop = workshop();
    as_qwen2(&workshop);
    let settings = [
        "lora.use_dora=true",
        "lora.bias=all",
        "lora.dropout=0.1",
        r"lora.target_modules=model\.layers\.\d+\.(self_attn\.[qo]_proj|mlp\.down_proj)",
        "lora.rank_pattern={ o_proj = 2 }",
        "train.save_strategy=steps",
        "train.save_steps=2",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let whole = train(&workshop, "qwen2", "whole", &[&settings[..], &["--max-steps", "4"]].concat());
    assert!(whole.contains("exit code: 0"), "{whole}");
    let adapter = workshop.path("whole/adapter");
    let config: Value = serde_json::from_slice(&fs::read(adapter.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&config["use_dora"], &config["bias"]), (&json!(true), &json!("all")));
    assert_eq!(config["target_modules"], json!(r"model\.layers\.\d+\.(self_attn\.[qo]_proj|mlp\.down_proj)"));
    assert_eq!(config["rank_pattern"], json!({"o_proj": 2}));
    let weights = adapter.join("adapter_model.safetensors");
    let in_layer = "base_model.model.model.layers.0.self_attn";
    assert_eq!(
        Weights::open_file(&weights).unwrap().get(&format!("{in_layer}.o_proj.lora_A.weight")).unwrap().shape[0],
        2
    );
    // k has no adapter, and its bias is trained all the same
    let of_base = f32s(&workshop.path("qwen2/model.safetensors"), "model.layers.0.self_attn.v_proj.bias");
    assert_ne!(f32s(&weights, &format!("{in_layer}.v_proj.bias")), of_base);
    let base = f32s(&workshop.path("qwen2/model.safetensors"), "model.layers.0.self_attn.o_proj.weight");
    let magnitude = f32s(&weights, &format!("{in_layer}.o_proj.lora_magnitude_vector"));
    let norms: Vec<f32> = base
        .chunks_exact(base.len() / magnitude.len())
        .map(|row| row.iter().map(|w| w * w).sum::<f32>().sqrt())
        .collect();
    assert!(magnitude.iter().zip(&norms).all(|(m, norm)| (m - norm).abs() > 1e-6), "{magnitude:?} {norms:?}");

    fs::remove_dir_all(&adapter).unwrap();
    fs::remove_dir_all(workshop.path("whole/checkpoint-4")).unwrap();
    let kept = workshop.path("whole/checkpoint-2/adapter_model.safetensors");
    assert!(kept.is_file() || workshop.path("whole/checkpoint-2/adapter").is_dir());
    let other = train(&workshop, "qwen2", "other", &[&settings[..], &["--max-steps", "4"]].concat());
    assert!(other.contains("exit code: 0"), "{other}");
    let resumed = workshop.run(&["train", "--output-dir", "whole", "--resume"]);
    assert!(resumed.contains("exit code: 0"), "{resumed}");
    let bytes = |run: &str| fs::read(workshop.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert!(bytes("whole") == bytes("other"), "a resumed run ends at other bytes");

    let merged = ["merge", "--adapter", "whole", "--output-dir", "merged", "--dtype", "f32"];
    let said = workshop.run(&merged);
    assert!(said.contains("exit code: 0"), "{said}");
    let adapted = logits(&workshop, &["--model", "qwen2", "--adapter", "whole"]);
    let merged = logits(&workshop, &["--model", "merged"]);
    let plain = logits(&workshop, &["--model", "qwen2"]);
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(distance(&adapted, &merged) <= 1e-4, "{}", distance(&adapted, &merged));
    assert!(distance(&adapted, &plain) >= 1e-2, "the adapter does something");

    for (setting, said) in [
        ("lora.use_dora=false", "its use_dora is true, but lora.use_dora = false"),
        ("lora.bias=none", "its bias is all, but lora.bias = none"),
        (
            "lora.rank_pattern={ o_proj = 3 }",
            "o_proj is one of rank 2 and scale 16, but by the recipe it is one of rank 3",
        ),
    ] {
        let next = ["--set", "train.init_adapter=whole/adapter", "--set", setting, "--max-steps", "2"];
        let refused = train(&workshop, "qwen2", "next", &[&settings[..], &next].concat());
        assert!(refused.contains("exit code: 1") && refused.contains(said), "{refused}\nlacks {said}");
    }
}

#[test]
fn settings_of_adapters_that_cannot_be_are_refused_with_what_can() {
    let workshop = workshop();
    let mut said = String::new();
    for setting in [
        "lora.bias=all",
        "lora.bias=some",
        "lora.use_dora=yes",
        "lora.target_modules=model\\.layers\\.(0|1\\..*",
        "lora.target_modules=.*\\.w_proj",
        "lora.exclude_modules=w_proj",
        "lora.exclude_modules=(q|k",
        "lora.exclude_modules=.*_proj",
        "lora.layers_to_transform=7",
        "lora.layers_pattern=layers",
        "lora.rank_pattern={ q_proj = 0 }",
        "lora.alpha_pattern={ \"*q_proj\" = 8 }",
    ] {
        said += &train(&workshop, "student", "run", &["--set", setting, "--max-steps", "2"]);
    }
    assert!(!workshop.path("run").exists());
    insta::assert_snapshot!("adapter_settings", said);
}

/// Every command that loads an adapter, with what it says.
fn everywhere(workshop: &Workshop, student: &str, adapter: &str, more: &[&str]) -> Vec<String> {
    let on = ["--adapter", adapter];
    let with = |arguments: &[&str]| workshop.run(&[arguments, &on[..]].concat());
    let init = format!("train.init_adapter={adapter}");
    vec![
        with(&["merge", "--student", student, "--output-dir", "merged"]),
        with(&["chat", "--model", student, "--prompt", "1", "--max-new-tokens", "2"]),
        with(&["logits", "--model", student, "--ids", "65", "--output", "l.safetensors"]),
        with(&["eval", "--model", student, "--tasks", "sums.jsonl", "--output-dir", "scores"]),
        with(&["eval", "--loss", "--model", student, "--data", "rows.jsonl"]),
        train(workshop, student, "again", &[&["--set", &init], more].concat()),
    ]
}

/// A run's folder may be named where an adapter is wanted; where a model is, both are refused with what to type.
#[test]
fn a_run_s_folder_stands_for_its_adapter() {
    let workshop = workshop();
    workshop.write("sums.jsonl", "{\"question\": \"1+1?\", \"answer\": 2}\n");
    let trained = train(&workshop, "student", "run", &["--max-steps", "2"]);
    assert!(trained.contains("exit code: 0"), "{trained}");
    for said in everywhere(&workshop, "student", "run", &["--max-steps", "2"]) {
        assert!(
            said.contains("exit code: 0") && said.contains("taking the adapter of this run, run/adapter"),
            "{said}"
        );
    }
    let merged = |folder: &str| fs::read(workshop.path(folder).join("model.safetensors")).unwrap();
    let other = ["merge", "--adapter", "run/adapter", "--output-dir", "other"];
    assert!(workshop.run(&other).contains("exit code: 0"));
    assert_eq!(merged("merged"), merged("other"));
    let recipe = fs::read_to_string(workshop.path("again/recipe.toml")).unwrap();
    assert!(recipe.contains("/run/adapter\"\n"), "{recipe}");

    let mut said = String::new();
    for model in ["run", "run/adapter"] {
        said += &workshop.run(&["chat", "--model", model, "--prompt", "1"]);
    }
    said += &workshop.run(&["eval", "--model", "run", "--tasks", "sums.jsonl", "--output-dir", "scores2"]);
    said += &train(&workshop, "run", "third", &[]);
    said += &workshop.run(&["compare", "scores", "run", "--output-dir", "report"]);
    said += &workshop.run(&["merge", "run", "--output-dir", "merged2"]);
    // The state after a kill before the end.
    fs::remove_dir_all(workshop.path("run/adapter")).unwrap();
    said += &workshop.run(&["merge", "--adapter", "run", "--output-dir", "merged2"]);
    fs::remove_dir_all(workshop.path("run/checkpoint-2")).unwrap();
    said += &workshop.run(&["chat", "--model", "student", "--adapter", "run", "--prompt", "1"]);
    insta::assert_snapshot!("run_named", said);
}

#[test]
fn rows_that_the_vocabulary_has_no_place_for_are_refused_wherever_an_adapter_is_loaded() {
    let workshop = workshop();
    workshop.write("sums.jsonl", "{\"question\": \"1+1?\", \"answer\": 2}\n");
    let tokens = ["--set", r#"student.add_tokens=["<think>", "</think>"]"#];
    let trained = train(&workshop, "student", "run", &[&tokens[..], &["--max-steps", "2"]].concat());
    assert!(trained.contains("exit code: 0"), "{trained}");
    for (number, (ids, said)) in [
        (
            json!([258, 266]),
            "it trains token 266 of embed_tokens, but the model's vocabulary of 258 has no token 259 before it",
        ),
        (json!([258, 4_000_000_000_u32]), "token 4000000000"),
        (json!([258, 258]), "lists token 258 twice"),
        (json!([258, -1]), "-1 is no token id"),
        (json!([258, 259, 260]), "has shape [2, 8], but this model asks for [3, 8]"),
    ]
    .into_iter()
    .enumerate()
    {
        let adapter = format!("bad-{number}");
        copy(&workshop.path("run/adapter"), &workshop.path(&adapter));
        let config = workshop.path(&adapter).join("adapter_config.json");
        edit_json(&config, |config| config["trainable_token_indices"] = ids);
        unseal(&workshop.path(&adapter));
        for answer in everywhere(&workshop, "student", &adapter, &tokens) {
            assert!(answer.contains("exit code: 1") && answer.contains(said), "{answer}\nlacks {said}");
        }
        assert!(!workshop.path("merged").exists() && !workshop.path("again").exists());
    }
}

#[test]
fn new_rows_of_one_table_beside_an_untied_head_are_refused_and_known_ones_merge() {
    let workshop = workshop();
    workshop.write("sums.jsonl", "{\"question\": \"1+1?\", \"answer\": 2}\n");
    untie(&workshop);
    let tokens = ["--set", r#"student.add_tokens=["<think>", "</think>"]"#, "--max-steps", "2"];
    let trained = train(&workshop, "untied", "new", &tokens);
    assert!(trained.contains("exit code: 0"), "{trained}");
    leave_out_head_rows(&workshop.path("new/adapter"));
    for answer in everywhere(&workshop, "untied", "new/adapter", &tokens) {
        let said = "token 258 is new to the vocabulary of 258, and the adapter has a row of embed_tokens for it but none of lm_head";
        assert!(answer.contains("exit code: 1") && answer.contains(said), "{answer}");
    }
    // Rows that the vocabulary has: the head keeps those of the base, as in PEFT.
    let trained =
        train(&workshop, "untied", "known", &["--set", r#"student.add_tokens=["o", "n"]"#, "--max-steps", "2"]);
    assert!(trained.contains("exit code: 0"), "{trained}");
    leave_out_head_rows(&workshop.path("known/adapter"));
    workshop.json(&["merge", "--adapter", "known/adapter", "--student", "untied", "--output-dir", "merged", "--json"]);
    let tensor = |model: &str, name: &str| {
        Weights::open_file(workshop.path(model).join("model.safetensors")).unwrap().get(name).unwrap().bytes.to_vec()
    };
    assert_eq!(tensor("merged", "lm_head.weight"), tensor("untied", "lm_head.weight"));
    let name = "model.embed_tokens.weight";
    let (merged, base) = (tensor("merged", name), tensor("untied", name));
    let changed: Vec<usize> = (0..258).filter(|row| merged[row * 32..][..32] != base[row * 32..][..32]).collect();
    assert_eq!(changed, [110, 111], "the rows of n and o, and no others");
}

#[test]
fn modules_that_can_learn_nothing_stop_the_run() {
    let workshop = workshop();
    copy(&workshop.path("student"), &workshop.path("hollow"));
    rewrite(&workshop.path("hollow/model.safetensors"), |tensors| {
        tensors.get_mut("model.layers.0.self_attn.o_proj.weight").unwrap().1.fill(0);
    });
    let targets = ["--set", r#"lora.target_modules=["q_proj", "v_proj", "up_proj"]"#];
    let said = train(&workshop, "hollow", "run", &targets);
    for part in [
        "exit code: 1",
        "self_attn.q_proj of layer 0, self_attn.v_proj of layer 0",
        "exactly zero in each of 5 steps",
        "lora.target_modules",
    ] {
        assert!(said.contains(part), "lacks {part:?}:\n{said}");
    }
    assert!(!workshop.path("run/adapter").exists());
    let short = train(&workshop, "hollow", "short", &[&targets[..], &["--max-steps", "2"]].concat());
    assert!(short.contains("exactly zero in each of 2 steps"), "{short}");
    // Where what hides them is learnt itself they have a gradient from the step after its first on, behind a warm-up, too.
    let whole = train(&workshop, "hollow", "whole", &["--set", "lora.target_modules=all-linear"]);
    assert!(whole.contains("exit code: 0"), "{whole}");
    let sound = train(&workshop, "student", "sound", &targets);
    assert!(sound.contains("exit code: 0"), "{sound}");
}

#[test]
fn a_run_whose_every_step_is_warm_up_is_refused_before_it_begins() {
    let workshop = workshop();
    let said = train(&workshop, "student", "run", &["--max-steps", "1"]);
    for part in ["exit code: 1", "train.learning_rate = 0.05", "1 steps, 1 of them warm-up", "train.warmup_ratio=0"] {
        assert!(said.contains(part), "lacks {part:?}:\n{said}");
    }
    assert!(!workshop.path("run/recipe.toml").exists());
    let still = train(&workshop, "student", "run", &["--set", "train.learning_rate=0"]);
    assert!(still.contains("exit code: 1") && still.contains("train.learning_rate = 0\nbecause: "), "{still}");
    assert!(!workshop.path("run/rows").exists(), "rows of a run that was refused");
}

/// A student that computes what is not finite behind each 8 of a text: of a channel that no other token has, the values of attention
/// overflow. Its weights are all finite.
fn overflow_at_8(workshop: &Workshop) {
    const CHANNEL: usize = 3;
    const WIDTH: usize = 8;
    copy(&workshop.path("student"), &workshop.path("overflows"));
    rewrite(&workshop.path("overflows/model.safetensors"), |tensors| {
        let mut set = |name: &str, is_meant: &dyn Fn(usize, usize) -> bool, value: &dyn Fn(usize) -> f32| {
            for (index, number) in tensors.get_mut(name).unwrap().1.chunks_exact_mut(4).enumerate() {
                let (row, column) = (index / WIDTH, index % WIDTH);
                if is_meant(row, column) {
                    number.copy_from_slice(&value(row).to_le_bytes());
                }
            }
        };
        let of_8 = |row: usize| f32::from(u8::from(row == usize::from(b'8')));
        set("model.embed_tokens.weight", &|_, column| column == CHANNEL, &of_8);
        let layer = |name: &str| format!("model.layers.0.{name}.weight");
        set(&layer("input_layernorm"), &|_, column| column == CHANNEL, &|_| 1.0);
        set(&layer("self_attn.v_proj"), &|_, column| column == CHANNEL, &|_| 3e38);
        assert_eq!(tensors["model.embed_tokens.weight"].0[1], WIDTH);
    });
}

#[test]
fn answers_fail_one_by_one_and_are_counted() {
    let workshop = workshop();
    overflow_at_8(&workshop);
    workshop.write(
        "sums.jsonl",
        "{\"question\": \"1+1?\", \"answer\": 2}\n{\"question\": \"Say 8.\", \"answer\": 8}\n{\"question\": \"Say 9.\", \"answer\": 9}\n",
    );
    let usual = ["eval", "--model", "overflows", "--dtype", "f32", "--tasks", "sums.jsonl", "--samples", "4"];
    let evaluate = [&usual[..], &["--max-new-tokens", "6", "--output-dir", "scores"]].concat();
    let said = workshop.run(&evaluate);
    assert!(said.contains("exit code: 0") && said.contains("of the answers failed and count as wrong"), "{said}");
    let samples = fs::read_to_string(workshop.path("scores/samples.jsonl")).unwrap();
    let samples: Vec<Value> = samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(samples.len(), 12);
    let has_failed = |sample: &Value| sample["finish_reason"] == "failed";
    for sample in &samples {
        assert_eq!(has_failed(sample), !sample["failure"].is_null(), "{sample}");
        if sample["question"] == "Say 8." {
            let words = sample["failure"].as_str().unwrap_or_default();
            assert!(has_failed(sample) && words.contains("not finite numbers"), "{sample}");
        }
        assert!(!(has_failed(sample) && (sample["correct"] == true || sample["truncated"] == true)), "{sample}");
    }
    let failed = samples.iter().filter(|sample| has_failed(sample)).count();
    assert!((4..12).contains(&failed), "{failed} of 12 failed");
    let results: Value = serde_json::from_slice(&fs::read(workshop.path("scores/results.json")).unwrap()).unwrap();
    let share = results["tasks"][0]["failed"].as_f64().unwrap();
    assert!((share - failed as f64 / 12.0).abs() <= 1e-12, "{share}");
    let chat = ["chat", "--model", "overflows", "--dtype", "f32", "--prompt", "8", "--max-new-tokens", "4"];
    let chat = workshop.run(&chat);
    assert!(chat.contains("exit code: 1") && chat.contains("not finite numbers"), "{chat}");
}
