//! Runs every recipe in `recipes/` as its first lines say, on a tiny student and a tiny teacher.
#![expect(clippy::unwrap_used, reason = "clippy does not know the helpers of tests as tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Workshop, train_args, write_student};
use serde_json::json;

/// The recipes, in the order of their names.
fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut recipes: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    recipes.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    recipes.sort();
    recipes
}

/// The commands in the comment that a recipe begins with.
fn commands(recipe: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(recipe).unwrap();
    let comment: Vec<&str> = text.lines().map_while(|line| line.strip_prefix('#')).collect();
    let joined = comment.join("\n").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| line.starts_with("aludel "));
    lines.map(|line| line.split_whitespace().skip(1).map(str::to_owned).collect()).collect()
}

#[test]
fn every_recipe_runs_as_it_says() {
    let workshop = Workshop::new();
    // Wide enough for weights of 4 bits.
    write_student(&workshop.path("student"), 64);
    let row = |i: usize| json!({"prompt": format!("{i}+1?"), "response": format!("It is {}.", i + 1)});
    workshop.write("rows.jsonl", &(0..24).map(|i| format!("{}\n", row(i))).collect::<String>());
    let taught = workshop.run(&train_args("taught", &["--dtype", "f32", "--learning-rate", "0.02"]));
    assert!(taught.contains("exit code: 0"), "{taught}");
    workshop.json(&["merge", "--adapter", "taught/adapter", "--output-dir", "teacher", "--dtype", "f32", "--json"]);
    let recipes = recipes();
    assert!(recipes.len() >= 5, "{recipes:?}");
    for recipe in recipes {
        let name = recipe.file_stem().unwrap().to_str().unwrap().to_owned();
        let placed = |word: &String| match word.as_str() {
            "student.gguf" | "STUDENT" => "student".to_owned(),
            "teacher.gguf" => "teacher".to_owned(),
            "curated/train.jsonl" => "rows.jsonl".to_owned(),
            "run/adapter" => "run-logits/adapter".to_owned(),
            "run" | "run2" => format!("run-{name}"),
            word if word.starts_with("recipes/") => {
                assert!(recipe.ends_with(word), "{name} names another recipe: {word}");
                recipe.to_str().unwrap().to_owned()
            }
            word => word.replace("teacher.gguf", "teacher"),
        };
        let commands = commands(&recipe);
        assert!(commands.iter().any(|words| words[0] == "train"), "{name} does not say how it is run");
        for words in commands {
            let mut words: Vec<String> = words.iter().map(placed).collect();
            if words[0] == "train" {
                words.extend(["--max-length", "256", "--max-steps", "3"].map(str::to_owned));
            }
            // The tiny teacher knows little.
            words.extend(["--set", "distill.pair_check=warn", "--set", "train.max_length=256"].map(str::to_owned));
            let said = workshop.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(said.contains("exit code: 0"), "{name}: {said}");
        }
        assert!(workshop.path(&format!("run-{name}/adapter/adapter_model.safetensors")).is_file(), "{name}");
    }
}
