//! Adapters on parts of Phi-3's fused linears, through the binary.

use super::*;

/// A copy of the student, in `phi3`, as a model of that family: queries, keys and values are one linear, gate and up another.
fn as_phi3(workshop: &Workshop) {
    copy(&workshop.path("student"), &workshop.path("phi3"));
    edit_json(&workshop.path("phi3/config.json"), |config| {
        config["architectures"] = json!(["Phi3ForCausalLM"]);
        config["model_type"] = "phi3".into();
        config["pad_token_id"] = 257.into();
    });
    rewrite(&workshop.path("phi3/model.safetensors"), |tensors| {
        for (fused, parts) in [
            ("self_attn.qkv", &["self_attn.q", "self_attn.k", "self_attn.v"][..]),
            ("mlp.gate_up", &["mlp.gate", "mlp.up"]),
        ] {
            let name = |part: &str| format!("model.layers.0.{part}_proj.weight");
            let parts: Vec<_> = parts.iter().map(|part| tensors.remove(&name(part)).unwrap()).collect();
            let rows = parts.iter().map(|(shape, _)| shape[0]).sum();
            let bytes = parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            tensors.insert(name(fused), (vec![rows, parts[0].0[1]], bytes));
        }
    });
}

/// A recipe for other families runs as it is: q, k and v, named alike, are the fused linear.
#[test]
fn the_seed_recipe_runs_unchanged() {
    let workshop = workshop();
    as_phi3(&workshop);
    let more = ["--recipe", "builtin:seed", "--max-steps", "2", "--set", "train.warmup_ratio=0"];
    let said = train(&workshop, "phi3", "run", &more);
    assert!(said.contains("exit code: 0"), "{said}");
    assert!(said.contains("q_proj, k_proj and v_proj are one linear in this model"), "{said}");
    let config = fs::read(workshop.path("run/adapter/adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!((&config["target_modules"], &config["r"]), (&json!(["o_proj", "qkv_proj"]), &json!(8)));
    assert_eq!((&config["rank_pattern"], &config["alpha_pattern"]), (&json!({}), &json!({})));
}

/// The names that other families have mean the parts of Phi-3's fused linears, from the recipe to the merged model.
#[test]
fn parts_of_fused_linears_are_trained_resumed_and_merged() {
    let workshop = workshop();
    as_phi3(&workshop);
    let settings = [
        r#"lora.target_modules=["q_proj", "v_proj", "o_proj", "down_proj"]"#,
        r#"lora.exclude_modules="down_proj""#,
        "lora.r=2",
        "lora.alpha=4",
        "train.weight_decay=0.1",
        "train.save_strategy=steps",
        "train.save_steps=2",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let whole = train(&workshop, "phi3", "whole", &[&settings[..], &["--max-steps", "4"]].concat());
    assert!(whole.contains("exit code: 0"), "{whole}");
    assert_eq!(whole.matches("q_proj and v_proj are parts of qkv_proj in this model").count(), 1, "{whole}");
    let adapter = workshop.path("whole/adapter");
    let config: Value = serde_json::from_slice(&fs::read(adapter.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!(config["target_modules"], json!(["o_proj", "qkv_proj"]));
    assert_eq!((&config["rank_pattern"], &config["alpha_pattern"]), (&json!({"qkv_proj": 4}), &json!({"qkv_proj": 8})));
    let b = f32s(
        &adapter.join("adapter_model.safetensors"),
        "base_model.model.model.layers.0.self_attn.qkv_proj.lora_B.weight",
    );
    // queries 8, keys 4, values 4; two ranks each
    let is_inside = |i: usize| matches!((i / 4, i % 4), (0..8, 0..2) | (12..16, 2..4));
    assert!(b.len() == 64 && b.iter().enumerate().all(|(i, value)| (*value != 0.0) == is_inside(i)), "{b:?}");

    fs::remove_dir_all(&adapter).unwrap();
    fs::remove_dir_all(workshop.path("whole/checkpoint-4")).unwrap();
    let resumed = train(&workshop, "phi3", "whole", &[&settings[..], &["--max-steps", "4", "--resume"]].concat());
    assert!(resumed.contains("exit code: 0"), "{resumed}");
    let again = f32s(
        &adapter.join("adapter_model.safetensors"),
        "base_model.model.model.layers.0.self_attn.qkv_proj.lora_B.weight",
    );
    assert_eq!(again, b);

    let merge = ["merge", "--adapter", "whole/adapter", "--output-dir", "merged", "--max-shard-size", "4KB"];
    let merged = workshop.run(&merge);
    assert!(merged.contains("exit code: 0"), "{merged}");
    assert!(workshop.path("merged/model.safetensors.index.json").exists());
    let adapted = logits(&workshop, &["--model", "phi3", "--adapter", "whole/adapter"]);
    let alone = logits(&workshop, &["--model", "merged"]);
    let base = logits(&workshop, &["--model", "phi3"]);
    let off = |other: &[f32]| adapted.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off(&alone) < 1e-4 && off(&base) > 1e-2, "{} {}", off(&alone), off(&base));

    // an adapter of the whole linear is no start for one of its parts, and the other way round it is
    let init = ["--set", "train.init_adapter=whole/adapter"];
    let more = train(&workshop, "phi3", "more", &[&settings[..], &init, &["--max-steps", "2"]].concat());
    assert!(more.contains("exit code: 0"), "{more}");
    let other = ["--set", r#"lora.target_modules=["q_proj", "k_proj", "o_proj"]"#, "--set", "lora.exclude_modules=[]"];
    let refused = train(&workshop, "phi3", "other", &[&settings[..], &other, &init].concat());
    assert!(refused.contains("is for more outputs than those of the parts"), "{refused}");
}
