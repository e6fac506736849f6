//! Model cards of adapters and merged models, and the command that is suggested next.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;

use common::{Workshop, train_args};
use serde_json::Value;

const SETTINGS: &[&str] =
    &["--dtype", "f32", "--learning-rate", "0.05", "--max-steps", "4", "--set", "data.test_size=0.2"];

/// A student whose folder names its licence, and rows to train it on.
fn workshop() -> Workshop {
    let workshop = Workshop::with_student();
    let row = |i: usize| {
        serde_json::json!({"prompt": format!("{i}+1?"), "response": format!("{}", i + 1)}).to_string() + "\n"
    };
    workshop.write("rows.jsonl", &(0..20).map(row).collect::<String>());
    workshop.write("student/README.md", "---\nlicense: apache-2.0\n---\n# A student\n");
    workshop
}

fn train(workshop: &Workshop, more: &[&str]) -> String {
    workshop.run(&train_args("run", &[SETTINGS, more].concat()))
}

fn card(workshop: &Workshop, folder: &str) -> String {
    let card = fs::read_to_string(workshop.path(folder).join("README.md")).unwrap();
    let here = workshop.path("").display().to_string();
    assert!(!card.contains(&here) && !card.contains("/tmp"), "where files lie is told: {card}");
    card
}

#[test]
fn an_adapter_and_its_merged_model_carry_cards() {
    let workshop = workshop();
    let said = train(&workshop, &["--set", "student.add_tokens=[\"<x>\"]"]);
    for next in [
        "next: aludel eval --model student --adapter run/adapter --tasks ages dice --limit 50 --output-dir results\n",
        "next: aludel merge --adapter run/adapter --output-dir merged\n",
    ] {
        assert!(said.contains(next), "lacks {next:?}:\n{said}");
    }
    assert!(said.contains("INFO the adapter's base: [folder]/student\n"), "{said}");
    let of_adapter = card(&workshop, "run/adapter");
    for part in [
        "---\nlibrary_name: peft\npipeline_tag: text-generation\nlicense: apache-2.0\ntags:\n- lora\n- aludel\n- distillation\n---\n",
        "# LoRA adapter for `student`",
        "| data | `rows.jsonl` |",
        "| rows | 16 trained on, 4 held back |",
        "| steps | 4 of 4 |",
        "%) |",
        "learning_rate = 0.05",
        "products in f32 |",
        "model.resize_token_embeddings(len(tokenizer)",
        "PeftModel.from_pretrained(model, \"ADAPTER\")",
        "aludel chat --model STUDENT --adapter ADAPTER",
    ] {
        assert!(of_adapter.contains(part), "lacks {part:?}:\n{of_adapter}");
    }
    assert!(of_adapter.contains(&format!("| version | Aludel {}", env!("CARGO_PKG_VERSION"))), "{of_adapter}");
    // A card may be edited: the adapter still loads.
    let edited = of_adapter.replace("\nSettings:", "\nMade for a test.\n\nSettings:");
    workshop.write("run/adapter/README.md", &edited);
    let merge = ["merge", "--adapter", "run/adapter", "--student", "student", "--output-dir", "merged"];
    let said = workshop.run(&merge);
    assert!(said.contains("exit code: 0") && said.ends_with("next: aludel chat --model merged\n"), "{said}");
    assert!(said.contains("\nelsewhere: `vllm serve merged`, or transformers' from_pretrained(\"merged\")"), "{said}");
    let of_merged = card(&workshop, "merged");
    for part in [
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\nlicense: apache-2.0\n",
        "weights are F32",
        "| rows | 16 trained on, 4 held back |",
        "Made for a test.",
        "AutoModelForCausalLM.from_pretrained(\"MODEL\")",
        "aludel chat --model MODEL",
    ] {
        assert!(of_merged.contains(part), "lacks {part:?}:\n{of_merged}");
    }
    assert!(!of_merged.contains("PeftModel"), "{of_merged}");
    let chat = ["chat", "--model", "merged", "--prompt", "1", "--max-new-tokens", "2", "--json"];
    assert_eq!(workshop.json(&chat)["usage"]["completion_tokens"], 2);
}

/// A merged model records the training prompts of its adapter's run, wherever it is moved.
#[test]
fn a_merged_model_tells_which_prompts_it_was_trained_on() {
    let workshop = workshop();
    train(&workshop, &[]);
    workshop.run(&["merge", "--adapter", "run/adapter", "--student", "student", "--output-dir", "merged"]);
    fs::remove_dir_all(workshop.path("run")).unwrap();
    let row = |i: usize| format!("{}\n", serde_json::json!({"question": format!("{i}+1?"), "answer": i + 1}));
    workshop.write("asked.jsonl", &(0..30).map(row).collect::<String>());
    let eval = ["eval", "--model", "merged", "--tasks", "asked.jsonl", "--max-new-tokens", "2", "--output-dir", "out"];
    let said = workshop.run(&eval);
    assert!(said.contains("16 of 30 problems were trained on"), "{said}");
    let said = workshop.run(&["eval", "--loss", "--model", "merged", "--data", "rows.jsonl"]);
    assert!(said.contains("16 of 20 rows have a prompt that the adapter was trained on"), "{said}");
}

/// An adapter of another tool has no card of ours, and names its base as the Hub does.
#[test]
fn a_base_on_the_hub_is_named_and_a_missing_card_is_no_fault() {
    let workshop = workshop();
    let said = train(&workshop, &[]);
    assert!(said.contains("exit code: 0"), "{said}");
    for name in ["README.md", "aludel_manifest.json"] {
        fs::remove_file(workshop.path("run/adapter").join(name)).unwrap();
    }
    let config = workshop.path("run/adapter/adapter_config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    json["base_model_name_or_path"] = "owner/base".into();
    fs::write(&config, json.to_string()).unwrap();
    workshop.json(&["merge", "--adapter", "run/adapter", "--student", "student", "--output-dir", "merged", "--json"]);
    let card = card(&workshop, "merged");
    assert!(card.starts_with("---\nbase_model: \"owner/base\"\n") && card.contains("# `owner/base` with"), "{card}");
    assert!(!card.contains("## Training"), "{card}");
}

#[test]
fn an_evaluation_shows_all_tasks_as_one_and_what_to_type_next() {
    let workshop = workshop();
    let tasks = |name: &str, n: usize| {
        let row = |i: usize| format!("{}\n", serde_json::json!({"question": format!("{i}+1?"), "answer": i + 1}));
        workshop.write(name, &(0..n).map(row).collect::<String>());
    };
    tasks("a.jsonl", 3);
    tasks("b.jsonl", 2);
    let evaluate =
        ["eval", "--model", "student", "--tasks", "a.jsonl", "b.jsonl", "--max-new-tokens", "4", "--output-dir", "out"];
    let said = workshop.run(&evaluate);
    let overall = said.lines().find(|line| line.starts_with("overall")).unwrap();
    // Five problems, none of them solved; Wilson's interval of 0 in 5.
    assert_eq!(overall.split_whitespace().take(5).collect::<Vec<_>>(), ["overall", "5", "0.0%", "[0.0,", "43.4]"]);
    assert!(said.ends_with("next: aludel compare out AFTER --output-dir report\n"), "{said}");
    let tables = said.lines().filter(|line| !line.starts_with(['$', ' ']));
    assert!(tables.clone().count() > 8 && tables.into_iter().all(|line| line.chars().count() <= 80), "{said}");
    let json = workshop.command(&[&evaluate[..9], &["out2", "--json"]].concat()).output().unwrap();
    assert!(!String::from_utf8_lossy(&json.stderr).contains("next:"));
}
