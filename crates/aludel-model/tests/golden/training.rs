//! Gradients in other ways of training against PyTorch and PEFT (`tools/golden/gradients.py`): in bf16, and with dropout.

use aludel_formats::safetensors;
use aludel_kernels::check::cosine;
use aludel_kernels::linear::Precision;
use aludel_kernels::quant;
use aludel_model::adapter::Adapter;
use aludel_model::decoder::{Active, SavedActivations, StepDropout};

use super::{Golden, contexts, device, gradients, plain, processor_contexts};

/// A file of `fixtures/gradients`.
struct Gradients(safetensors::Weights);

impl Gradients {
    fn open(name: &str) -> Gradients {
        let path = format!("{}/tests/fixtures/gradients/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        Gradients(safetensors::Weights::open_file(path).unwrap())
    }

    fn tensor(&self, model: &str, name: &str) -> Vec<f32> {
        let view = self.0.get(&format!("{model}.{name}")).unwrap();
        let mut out = vec![0.0; view.elements()];
        quant::decode(quant::BlockType::F32, view.bytes, &mut out).unwrap();
        out
    }

    fn number(&self, key: &str) -> f64 {
        self.0.metadata()[key].parse().unwrap()
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

/// In bf16 no implementation is exact: rounding moves PyTorch's own gradients away from those in f32. For each tensor and for the loss, ours
/// may be no further from f32 than PyTorch's.
#[test]
fn bf16_gradients_are_no_further_from_f32_than_those_of_pytorch() {
    let fixture = Gradients::open("bf16");
    for name in ["tied", "qwen3_untied", "gemma3", "phi3", "phi3_long"] {
        let golden = Golden::open(name);
        for mut ctx in processor_contexts() {
            let what = format!("{name} {}", device(&ctx));
            let decoder = golden.load(&mut ctx, Precision::Bf16);
            let folder = golden.folder.join("adapter_all_linear");
            let adapter = Adapter::load(&mut ctx, decoder.config(), &folder).unwrap();
            let flat = ctx.persistent(1, adapter.parameter_count());
            let (loss, supervised) =
                gradients(&mut ctx, &decoder, plain(&adapter), &golden.rows(), flat, SavedActivations::new(false));
            let exact = golden.json["adapters"]["all_linear"]["losses"][0].as_f64().unwrap();
            let (ours, theirs) = (loss / supervised as f64 - exact, fixture.number(&format!("{name}.loss")) - exact);
            println!("{what}: loss {ours:+.1e}, PyTorch {theirs:+.1e}");
            assert!(ours.abs() <= theirs.abs().max(1e-3), "{what}: loss off by {ours}, PyTorch by {theirs}");
            let values: Vec<f32> = ctx.download(flat).iter().map(|g| g / supervised as f32).collect();
            for (entry, got) in adapter.named(&values) {
                let exact = golden.tensor(&format!("gradient.all_linear.{}", entry.name));
                let (ours, theirs) = (distance(got, &exact), distance(&fixture.tensor(name, &entry.name), &exact));
                println!("{what} {}: {ours:.1e}, PyTorch {theirs:.1e}", entry.name);
                assert!(ours <= theirs, "{what} {}: off by {ours}, PyTorch by {theirs}", entry.name);
                assert!(ours > 0.0, "{what} {}: as exact as f32, so this was not bf16", entry.name);
            }
        }
    }
}

/// The masks are made a second time by the fixture's script, from what `aludel_kernels::rng` documents.
#[test]
fn gradients_with_dropout_agree_with_peft_under_the_same_masks() {
    let fixture = Gradients::open("dropout");
    let golden = Golden::open("tied");
    for (mut ctx, gradient_checkpointing) in
        contexts().flat_map(|ctx| [(ctx, false)]).chain([(aludel_kernels::Context::cpu(2), true)])
    {
        let what = device(&ctx);
        let decoder = golden.load(&mut ctx, Precision::F32);
        let folder = golden.folder.join("adapter_all_linear");
        let adapter = Adapter::load(&mut ctx, decoder.config(), &folder).unwrap();
        let flat = ctx.persistent(1, adapter.parameter_count());
        let key = fixture.0.metadata()["key"].parse().unwrap();
        let dropout = StepDropout { probability: fixture.number("probability") as f32, key };
        let active = Active { adapter: &adapter, dropout: Some(dropout) };
        let (loss, supervised) =
            gradients(&mut ctx, &decoder, active, &golden.rows(), flat, SavedActivations::new(gradient_checkpointing));
        let (loss, expected) = (loss / supervised as f64, fixture.number("loss"));
        assert!((loss - expected).abs() <= 5e-5, "{what}: loss {loss}, PEFT {expected}");
        let values: Vec<f32> = ctx.download(flat).iter().map(|g| g / supervised as f32).collect();
        for (entry, got) in adapter.named(&values) {
            let expected = fixture.tensor("tied", &entry.name);
            let off = distance(got, &expected) / distance(&expected, &vec![0.0; expected.len()]);
            assert!(off <= 1e-4, "{what} {}: off by {off}", entry.name);
            assert!(cosine(got, &expected) >= 0.999_999, "{what} {}", entry.name);
            // Without the masks, the gradient differs.
            let without = golden.tensor(&format!("gradient.all_linear.{}", entry.name));
            assert!(distance(got, &without) >= 1e-2 * distance(&without, &vec![0.0; without.len()]), "{}", entry.name);
        }
    }
}
