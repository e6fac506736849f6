//! Adapter folders as PEFT and others write them: patterns, tensors that contradict the config, rows under two names.

use super::*;

/// The values of a safetensors file under a name.
fn stored(path: &Path, name: &str) -> Vec<f32> {
    let file = safetensors::Weights::open_file(path).unwrap();
    let view = file.get(name).unwrap();
    let mut out = vec![0.0; view.elements()];
    quant::decode(quant::BlockType::F32, view.bytes, &mut out).unwrap();
    out
}

fn patterns() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters/patterns")
}

/// Patterns for rank and alpha whose order counts, names with ".default.", `bias` without biases and `fan_in_fan_out` on linears: the
/// logits are PEFT's.
#[test]
fn an_adapter_with_patterns_computes_what_peft_computes() {
    let golden = Golden::open("tied");
    let mut ctx = Context::cpu(2);
    let decoder = golden.load(&mut ctx, Precision::F32);
    let adapter = Adapter::load(&mut ctx, decoder.config(), &patterns()).unwrap();
    let path = patterns().with_file_name("logits.safetensors");
    let file = safetensors::Weights::open_file(&path).unwrap();
    let ids: Vec<u32> = token_ids(file.get("ids").unwrap().bytes);
    let expected = stored(&path, "logits");
    let got = logits(&mut ctx, &decoder, Some(&adapter), &ids);
    assert_close("patterns", &got, &wide(&expected), 3e-5);
    // saved under PEFT's own names, with the patterns in their order, it is the same adapter
    let folder = tempfile::tempdir().unwrap();
    adapter.save(&ctx, folder.path()).unwrap();
    let again = Adapter::load(&mut ctx, decoder.config(), folder.path()).unwrap();
    assert!(again.entries().iter().all(|entry| !entry.name.contains("default")));
    assert_eq!(logits(&mut ctx, &decoder, Some(&again), &ids), got);
}

/// Little-endian i32.
fn token_ids(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// The error for an adapter on the tied model with another value in a field of its config, or another tensor name.
#[test]
fn tensors_and_config_that_disagree_are_refused_by_name() {
    let golden = Golden::open("tied");
    let mut ctx = Context::cpu(1);
    let decoder = golden.load(&mut ctx, Precision::F32);
    let in_layers = "base_model.model.model.layers";
    let mut check = |adapter: &Path, fields: &[(&str, Value)], names: &[(&str, &str)], said: &str| {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read(adapter.join("adapter_config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&text).unwrap();
        for (key, value) in fields {
            config[key] = value.clone();
        }
        std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
        let file = safetensors::Weights::open_file(adapter.join("adapter_model.safetensors")).unwrap();
        let renamed = |name: &str| {
            names.iter().find(|(from, _)| *from == name).map_or_else(|| name.to_owned(), |(_, to)| (*to).to_owned())
        };
        let specs: Vec<_> = file
            .tensors()
            .map(|tensor| tensor.unwrap())
            .filter(|tensor| !renamed(tensor.name).is_empty())
            .map(|tensor| TensorSpec::new(renamed(tensor.name), tensor.dtype, tensor.shape.clone()))
            .collect();
        safetensors::save_file(&folder.path().join("adapter_model.safetensors"), &specs, &hf_metadata(), |spec| {
            let name = file.names().find(|name| renamed(name) == spec.name).unwrap();
            Ok::<_, aludel_formats::Error>(Cow::Owned(file.get(name).unwrap().bytes.to_vec()))
        })
        .unwrap();
        let error = Adapter::load(&mut ctx, decoder.config(), folder.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{fields:?} {names:?}: {error}\nlacks {said}");
    };
    let attention = golden.folder.join("adapter_attention");
    let (a, b) = (
        format!("{in_layers}.1.self_attn.q_proj.lora_A.weight"),
        format!("{in_layers}.1.self_attn.q_proj.lora_B.weight"),
    );
    check(
        &attention,
        &[("target_modules", json!(["q_proj"]))],
        &[],
        "target_modules leave model.layers.0.self_attn.k_proj out",
    );
    check(&attention, &[("layers_to_transform", json!([0]))], &[], "leave model.layers.1.self_attn.q_proj out");
    let more = json!(["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]);
    check(&attention, &[("target_modules", more)], &[], "mean model.layers.0.mlp.up_proj, but it has no tensors");
    check(&attention, &[], &[(&a, ""), (&b, "")], "mean model.layers.1.self_attn.q_proj, but it has no tensors");
    check(&attention, &[], &[(&a, "")], "has no partner");
    check(&attention, &[("target_modules", json!(".*(_proj|lm_head)"))], &[], "mean lm_head");
    check(&attention, &[("r", json!(3))], &[], "this model asks for [3, 64]");
    check(
        &attention,
        &[("rank_pattern", json!({"model.layers.1.self_attn.q_proj": 9}))],
        &[],
        "layers.1.self_attn.q_proj.lora_A.weight: has shape [4, 64]",
    );
    let copy = a.replace("layers.1", "layers.0").replace(".weight", ".default.weight");
    check(&attention, &[], &[(&a, &copy)], "two names of one tensor");
    check(&attention, &[], &[(&a, "base_model.model.model.embed_tokens.weight")], "whole table of tokens");
    let rows = golden.folder.join("adapter_rows");
    let ids = |ids: Value| [("trainable_token_indices", ids)];
    check(&rows, &ids(json!([4_000_000_000_u32])), &[], "no token 160 before it");
    check(&rows, &ids(json!([5, 168])), &[], "no token 160 before it");
    check(&rows, &ids(json!([5, 5])), &[], "token 5 twice");
    check(&rows, &ids(json!([5, 158, 3])), &[], "has shape [2, 64], but this model asks for [3, 64]");
    check(&rows, &ids(json!([])), &[], "lists 0 trained rows for Embedding, the weights have them");
}

/// Rows for the tied tables listed twice are one: PEFT saves them once.
#[test]
fn tied_tables_may_list_their_rows_under_both_names() {
    let golden = Golden::open("tied");
    let mut ctx = Context::cpu(1);
    let decoder = golden.load(&mut ctx, Precision::F32);
    let folder = tempfile::tempdir().unwrap();
    let source = golden.folder.join("adapter_rows");
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(source.join("adapter_config.json")).unwrap()).unwrap();
    let ids = config["trainable_token_indices"]["embed_tokens"].clone();
    let ids = if ids.is_null() { config["trainable_token_indices"].clone() } else { ids };
    config["trainable_token_indices"] = json!({"model.embed_tokens": ids, "lm_head": ids});
    std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    let weights = "adapter_model.safetensors";
    std::fs::copy(source.join(weights), folder.path().join(weights)).unwrap();
    let [one, other] = [source.as_path(), folder.path()].map(|path| {
        let adapter = Adapter::load(&mut ctx, decoder.config(), path).unwrap();
        logits(&mut ctx, &decoder, Some(&adapter), &golden.rows()[0].ids)
    });
    assert_eq!(one, other);
}
