//! Exports through the binary: GGUF files of each type and from each kind of source, the gate that holds them against it, adapters alone,
//! Ollama's folder, and what is refused.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use aludel_formats::gguf::File;
use aludel_formats::safetensors::Weights;
use common::{Workshop, train_args, write_student};
use serde_json::{Value, json};
use std::fs;

/// A student whose rows fill the blocks of every type.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    write_student(&workshop.path("student"), 256);
    workshop
}

/// A run on a few rows, whose adapter does something.
fn train(workshop: &Workshop, more: &[&str]) {
    let row =
        |n: usize| json!({ "prompt": format!("{n} + {n}?"), "response": format!("It is {}.", 2 * n) }).to_string();
    let rows: Vec<String> = (1..9).map(row).collect();
    workshop.write("rows.jsonl", &(rows.join("\n") + "\n"));
    let usual = ["--max-steps", "3", "--learning-rate", "0.01", "--lora-r", "4"];
    let said = workshop.run(&train_args("run", &[&usual[..], more].concat()));
    assert!(said.contains("exit code: 0"), "{said}");
}

fn logits(workshop: &Workshop, name: &str, model: &[&str]) -> Vec<f32> {
    let output = format!("{name}.safetensors");
    let said = workshop.run(&[&["logits", "--ids", "256,10,70,99,257", "--output", &output][..], model].concat());
    assert!(said.contains("exit code: 0"), "{said}");
    let weights = Weights::open_file(workshop.path(&output)).unwrap();
    let tensor = weights.get("logits").unwrap();
    tensor.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0f32, |largest, (a, b)| largest.max((a - b).abs()))
}

#[test]
fn a_folder_becomes_a_gguf_file_that_computes_the_same() {
    let workshop = workshop();
    let found = workshop.json(&["export", "--model", "student", "--type", "f32", "--output", "a.gguf", "--json"]);
    assert_eq!((&found["type"], &found["notes"]), (&json!("F32"), &json!([])));
    assert_eq!((&found["parity"]["texts"], &found["parity"]["conversations"]), (&json!(200), &json!(4)));
    assert!(found["parity"]["kl"].as_f64().unwrap() <= 1e-9, "{found}");
    let (folder, file) =
        (logits(&workshop, "1", &["--model", "student"]), logits(&workshop, "2", &["--model", "a.gguf"]));
    assert!(distance(&folder, &file) <= 1e-5, "{}", distance(&folder, &file));
    let file = File::open(workshop.path("a.gguf")).unwrap();
    let keys = file.metadata();
    assert_eq!(keys.string("general.architecture").unwrap(), "llama");
    assert_eq!(keys.u32("tokenizer.ggml.eos_token_id").unwrap(), 257);
    assert_eq!(keys.string("tokenizer.ggml.pre").unwrap(), "gpt-2");
    // The second export is of the file, and holds the same.
    let said = workshop.run(&["export", "--model", "a.gguf", "--type", "f32", "--output", "b.gguf"]);
    assert!(said.contains("exit code: 0") && said.ends_with("next: aludel chat --model b.gguf\n"), "{said}");
    let again = File::open(workshop.path("b.gguf")).unwrap();
    for tensor in file.tensors() {
        assert_eq!(again.tensor(tensor.name).unwrap().bytes, tensor.bytes, "{}", tensor.name);
    }
}

#[test]
fn each_type_passes_its_gate_and_is_named_in_its_file() {
    let workshop = workshop();
    fs::create_dir(workshop.path("out")).unwrap();
    for (name, number, embedding) in [
        ("f16", 1, "F16"),
        ("bf16", 32, "BF16"),
        ("q8_0", 7, "Q8_0"),
        ("q6_k", 18, "Q6_K"),
        ("q5_k_m", 17, "Q6_K"),
        ("q5_1", 9, "Q6_K"),
        ("q5_0", 8, "Q6_K"),
        ("q4_k_m", 15, "Q6_K"),
        ("q4_1", 3, "Q6_K"),
        ("q4_0", 2, "Q6_K"),
    ] {
        let found = workshop.json(&["export", "--model", "student", "--type", name, "--output", "out", "--json"]);
        let parity = &found["parity"];
        assert!(parity["kl"].as_f64().unwrap() <= parity["kl_bound"].as_f64().unwrap(), "{found}");
        let path = found["output"].as_str().unwrap();
        assert!(path.ends_with(&format!("-{}.gguf", name.to_uppercase())), "{path}");
        let file = File::open(workshop.path(path)).unwrap();
        assert_eq!(file.metadata().u32("general.file_type").unwrap(), number, "{name}");
        assert_eq!(file.tensor("token_embd.weight").unwrap().dtype.name(), embedding, "{name}");
        assert_eq!(file.tensor("blk.0.attn_norm.weight").unwrap().dtype.name(), "F32", "{name}");
    }
}

/// Rows that no block fills are stored otherwise, which is said.
#[test]
fn a_type_that_a_width_forbids_falls_back() {
    let workshop = Workshop::with_student();
    let found = workshop.json(&["export", "--model", "student", "--type", "q4_k_m", "--output", "a.gguf", "--json"]);
    let note = found["notes"][0].as_str().unwrap();
    assert!(note.contains("is F16, since its rows of 8 do not fill blocks of Q8_0"), "{note}");
}

#[test]
fn an_adapter_is_merged_on_the_way_and_exported_alone() {
    let workshop = workshop();
    train(&workshop, &[]);
    let adapted = logits(&workshop, "1", &["--model", "student", "--adapter", "run"]);
    let base = logits(&workshop, "2", &["--model", "student"]);
    assert!(distance(&adapted, &base) > 1e-3, "the adapter does something");
    let with = ["export", "--model", "student", "--adapter", "run"];
    let found = workshop.json(&[&with[..], &["--type", "f32", "--output", "merged.gguf", "--json"]].concat());
    assert!(found["parity"]["kl"].as_f64().unwrap() <= 1e-6, "{found}");
    let merged = logits(&workshop, "3", &["--model", "merged.gguf"]);
    assert!(distance(&adapted, &merged) <= 1e-4, "{}", distance(&adapted, &merged));
    let keys = File::open(workshop.path("merged.gguf")).unwrap();
    assert_eq!(keys.metadata().string("general.base_model.0.name").unwrap(), "student");
    let found = workshop.json(&[&with[..], &["--format", "adapter", "--output", "adapter.gguf", "--json"]].concat());
    let file = File::open(workshop.path("adapter.gguf")).unwrap();
    assert_eq!(file.metadata().string("general.type").unwrap(), "adapter");
    assert_eq!(file.tensors().len() as u64, 2 * found["linears"].as_u64().unwrap());
    // The weights of the file, put onto the base's, are those of the merged model.
    let tensor = |path: &str, name: &str| -> Vec<f32> {
        let file = File::open(workshop.path(path)).unwrap();
        let tensor = file.tensor(name).unwrap();
        tensor.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    workshop.json(&["export", "--model", "student", "--type", "f32", "--output", "base.gguf", "--json"]);
    let alpha = file.metadata().f32("adapter.lora.alpha").unwrap();
    let name = "blk.0.attn_q.weight";
    let (a, b) = (tensor("adapter.gguf", &format!("{name}.lora_a")), tensor("adapter.gguf", &format!("{name}.lora_b")));
    let (base, merged) = (tensor("base.gguf", name), tensor("merged.gguf", name));
    let (rank, columns) = (4, 256);
    assert_eq!(a.len(), rank * columns);
    for (n, (base, merged)) in base.iter().zip(&merged).enumerate() {
        let (row, column) = (n / columns, n % columns);
        let product: f32 = (0..rank).map(|k| b[row * rank + k] * a[k * columns + column]).sum();
        let wanted = base + alpha / rank as f32 * product;
        assert!((merged - wanted).abs() <= 1e-5, "row {row}, column {column}: {merged} and {wanted}");
    }
}

#[test]
fn dora_has_no_place_in_an_adapter_file_and_is_merged() {
    let workshop = workshop();
    train(&workshop, &["--set", "lora.use_dora=true"]);
    let with = ["export", "--model", "student", "--adapter", "run"];
    let said = workshop.run(&[&with[..], &["--format", "adapter", "--output", "adapter.gguf"]].concat());
    assert!(said.contains("exit code: 1") && said.contains("DoRA") && said.contains("--format gguf"), "{said}");
    assert!(!workshop.path("adapter.gguf").exists());
    let found = workshop.json(&[&with[..], &["--type", "f32", "--output", "merged.gguf", "--json"]].concat());
    assert!(found["parity"]["kl"].as_f64().unwrap() <= 1e-6, "{found}");
}

#[test]
fn ollama_s_folder_has_template_and_stop_texts() {
    let workshop = workshop();
    let said =
        workshop.run(&["export", "--model", "student", "--type", "q8_0", "--format", "ollama", "--output", "ollama"]);
    assert!(said.contains("exit code: 0") && said.contains("ollama create student -f ollama/Modelfile"), "{said}");
    insta::assert_snapshot!("modelfile", fs::read_to_string(workshop.path("ollama/Modelfile")).unwrap());
    // A template of no known format is left out, and the export goes on.
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(workshop.path("student/tokenizer_config.json")).unwrap()).unwrap();
    config["chat_template"] =
        json!("{% for message in messages %}{{ '<|im_start|>' + message['content'] + '<|im_end|>' }}{% endfor %}");
    fs::write(workshop.path("student/tokenizer_config.json"), config.to_string()).unwrap();
    let _ = fs::remove_file(workshop.path("student/chat_template.jinja"));
    let said =
        workshop.run(&["export", "--model", "student", "--type", "q8_0", "--format", "ollama", "--output", "other"]);
    assert!(
        said.contains("exit code: 0") && said.contains("note: the model's template is none of the formats"),
        "{said}"
    );
    assert!(!fs::read_to_string(workshop.path("other/Modelfile")).unwrap().contains("TEMPLATE"));
}

/// A token that takes the spaces before it cannot be told to llama.cpp: the ids are others, and the gate finds it.
#[test]
fn a_file_that_differs_is_not_kept() {
    let workshop = workshop();
    let path = workshop.path("student/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(workshop.path("student/config.json")).unwrap()).unwrap();
    assert_eq!(config["vocab_size"], json!(258));
    tokenizer["added_tokens"][0]["content"] = json!("<|special|>");
    tokenizer["added_tokens"][0]["lstrip"] = json!(true);
    fs::write(&path, tokenizer.to_string()).unwrap();
    let side = workshop.path("student/tokenizer_config.json");
    let text = fs::read_to_string(&side).unwrap().replace("<|im_start|>", "<|special|>");
    fs::write(&side, text).unwrap();
    let jinja = workshop.path("student/chat_template.jinja");
    if let Ok(text) = fs::read_to_string(&jinja) {
        fs::write(&jinja, text.replace("<|im_start|>", "<|special|>")).unwrap();
    }
    config["bos_token_id"] = json!(256);
    fs::write(workshop.path("student/config.json"), config.to_string()).unwrap();
    let export = ["export", "--model", "student", "--type", "f32", "--output", "a.gguf"];
    let said = workshop.run(&export);
    assert!(said.contains("exit code: 1") && said.contains("has the ids") && said.contains("--no-gate"), "{said}");
    let left: Vec<_> = fs::read_dir(workshop.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["student"], "nothing is left");
    let said = workshop.run(&[&export[..], &["--no-gate"]].concat());
    assert!(said.contains("exit code: 0") && said.contains("not compared"), "{said}");
}

#[test]
fn what_cannot_be_exported_is_refused_by_name() {
    let workshop = workshop();
    let mut said = String::new();
    let to = |output: &str| ["export", "--model", "student", "--output", output].map(str::to_owned).to_vec();
    let mut check = |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        said += &workshop.run(&arguments);
        said.push('\n');
    };
    workshop.write("there.gguf", "");
    check(to("there.gguf"));
    check(to("missing-folder"));
    check([to("adapter.gguf"), vec!["--format".to_owned(), "adapter".to_owned()]].concat());
    let path = workshop.path("student/tokenizer.json");
    let tokenizer = fs::read_to_string(&path).unwrap();
    let mut other: Value = serde_json::from_str(&tokenizer).unwrap();
    other["normalizer"] = json!({ "type": "Lowercase" });
    fs::write(&path, other.to_string()).unwrap();
    check(to("a.gguf"));
    assert!(!workshop.path("a.gguf").exists());
    insta::assert_snapshot!("refused", said);
}
