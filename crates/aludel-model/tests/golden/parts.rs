//! Adapters on parts of Phi-3's fused linears: the losses and the adapter of PEFT with the same blocks of B (`tools/golden/variants.py`),
//! and what is made, saved and refused.

use aludel_formats::peft::{AdapterConfig, TargetModules};
use aludel_model::adapter::{AdapterInit, AdapterOptions, targets};

use super::*;

fn on(names: &[&str], r: usize) -> AdapterConfig {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    let target_modules = Some(TargetModules::Names(names));
    AdapterConfig { r, lora_alpha: 8.0, target_modules, ..AdapterConfig::default() }
}

/// Trains the parts with these names alone, of rank 4 each.
pub(super) fn train_parts(ctx: &Context, decoder: &Decoder, adapter: &mut Adapter, names: &[Value], folder: &Path) {
    let names: Vec<&str> = names.iter().map(|name| name.as_str().unwrap()).collect();
    let targets = targets(decoder.config(), &on(&names, 4)).unwrap();
    adapter.set_parts(ctx, decoder.config(), &targets, folder).unwrap();
}

#[test]
fn adapters_on_parts_agree_with_peft() {
    check_adapter("variants_phi3", "parts", false);
    check_adapter("variants_phi3", "parts", true);
    check_generation(Context::cpu(2), "variants_phi3", Some("parts"));
}

fn new_adapter(ctx: &mut Context, decoder: &Decoder, config: AdapterConfig) -> Adapter {
    let options = AdapterOptions { config, init: AdapterInit::Kaiming, seed: 1, rows: None };
    Adapter::new(ctx, decoder, &options, "base").unwrap()
}

/// Two steps of AdamW with weight decay.
fn train(ctx: &mut Context, decoder: &Decoder, adapter: &Adapter, rows: &[Row]) {
    let [flat, first, second] = [(); 3].map(|()| ctx.persistent(1, adapter.parameter_count()));
    let state = State { parameters: adapter.parameters(), gradients: flat, first, second, undecayed: 0 };
    let norm = ctx.persistent(1, 1);
    for number in 1..=2 {
        ctx.zero(flat);
        gradients(ctx, decoder, plain(adapter), rows, flat, SavedActivations::new(false));
        let step = Step { learning_rate: 1e-2, weight_decay: 0.1, number, ..Step::default() };
        ctx.plan(|ctx| optim::step(ctx, &[state], &step, norm));
        optim::step(ctx, &[state], &step, norm);
    }
}

/// How many elements of each B are not zero, by the last name of its linear; in all layers together.
fn filled(ctx: &Context, adapter: &Adapter, name: &str) -> usize {
    let values = ctx.download(adapter.parameters());
    let of = adapter.named(&values).filter(|(entry, _)| entry.name.ends_with(&format!(".{name}.lora_B.weight")));
    of.flat_map(|(_, values)| values).filter(|value| **value != 0.0).count()
}

#[test]
fn a_new_adapter_on_parts_is_saved_as_peft_has_it_and_moves_nothing_else() {
    let golden = Golden::open("variants_phi3");
    let parts = ["q_proj", "v_proj", "up_proj"];
    for mut ctx in [Context::cpu(2), Context::reference()] {
        let decoder = golden.load(&mut ctx, Precision::F32);
        let adapter = new_adapter(&mut ctx, &decoder, on(&parts, 4));
        let folder = tempfile::tempdir().unwrap();
        train(&mut ctx, &decoder, &adapter, &golden.rows());
        adapter.save(&ctx, folder.path()).unwrap();
        let read = |folder: &Path| -> Value {
            serde_json::from_slice(&std::fs::read(folder.join("adapter_config.json")).unwrap()).unwrap()
        };
        let mut theirs = read(&golden.folder.join("adapter_parts"));
        theirs["base_model_name_or_path"] = json!("base");
        // in another order, which means the same
        theirs["target_modules"] = json!(["qkv_proj", "gate_up_proj"]);
        assert_eq!(read(folder.path()), theirs);
        // two layers; outputs of the part times its rank
        assert_eq!(filled(&ctx, &adapter, "qkv_proj"), 2 * (64 + 32) * 4);
        assert_eq!(filled(&ctx, &adapter, "gate_up_proj"), 2 * 112 * 4);

        // what is loaded goes on with the same parts, and with the bits of the one that was saved
        let mut again = Adapter::load(&mut ctx, &decoder, folder.path()).unwrap();
        let wanted = targets(decoder.config(), &on(&parts, 4)).unwrap();
        again.set_parts(&ctx, decoder.config(), &wanted, folder.path()).unwrap();
        for adapter in [&adapter, &again] {
            train(&mut ctx, &decoder, adapter, &golden.rows());
        }
        assert_eq!(ctx.download(again.parameters()), ctx.download(adapter.parameters()));
        assert_eq!(filled(&ctx, &again, "qkv_proj"), 2 * (64 + 32) * 4);

        // other parts of the same rank, and the whole linear
        let other = targets(decoder.config(), &on(&["q_proj", "k_proj"], 4)).unwrap();
        let error = again.set_parts(&ctx, decoder.config(), &other, folder.path()).unwrap_err().to_string();
        assert!(error.contains("B of model.layers.0.self_attn.qkv_proj") && error.contains("rank 8"), "{error}");
        let mut whole = Adapter::load(&mut ctx, &decoder, folder.path()).unwrap();
        let wanted = targets(decoder.config(), &on(&["qkv_proj", "gate_up_proj"], 8)).unwrap();
        whole.set_parts(&ctx, decoder.config(), &wanted, folder.path()).unwrap();
        train(&mut ctx, &decoder, &whole, &golden.rows());
        assert_eq!(filled(&ctx, &whole, "qkv_proj"), 2 * 128 * 8);
    }
}

/// A part draws what it would draw if it stood alone, whichever parts are named with it.
#[test]
fn a_part_starts_as_it_does_in_any_company() {
    let golden = Golden::open("variants_phi3");
    let mut ctx = Context::cpu(1);
    let decoder = golden.load(&mut ctx, Precision::F32);
    let mut a_of = |names: &[&str]| {
        let adapter = new_adapter(&mut ctx, &decoder, on(names, 4));
        let values = ctx.download(adapter.parameters());
        let (_, a) = adapter.named(&values).find(|(entry, _)| entry.name.ends_with("qkv_proj.lora_A.weight")).unwrap();
        a.to_vec()
    };
    let (value, both) = (a_of(&["v_proj"]), a_of(&["q_proj", "v_proj"]));
    assert_eq!(both[4 * 64..], value);
    assert_ne!(both[..4 * 64], value);
}
