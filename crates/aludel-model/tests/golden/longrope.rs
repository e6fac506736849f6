//! LongRoPE past the original positions, where other factors hold for the whole text, against transformers (`tools/golden/longrope.py`).

use super::*;

/// The numbers of `phi3_long/` for longer texts.
struct Long {
    golden: Golden,
    tensors: safetensors::Weights,
}

impl Long {
    fn open() -> Long {
        let golden = Golden::open("phi3_long");
        let json = serde_json::from_slice(&std::fs::read(golden.folder.join("long.json")).unwrap()).unwrap();
        let tensors = safetensors::Weights::open_file(golden.folder.join("long.safetensors")).unwrap();
        Long { golden: Golden { json, ..golden }, tensors }
    }

    fn tensor(&self, name: &str) -> Vec<f32> {
        let view = self.tensors.get(name).unwrap();
        let mut out = vec![0.0; view.elements()];
        quant::decode(quant::BlockType::F32, view.bytes, &mut out).unwrap();
        out
    }

    fn numbers(&self, value: &Value) -> Vec<u32> {
        value.as_array().unwrap().iter().map(|x| u32::try_from(x.as_u64().unwrap()).unwrap()).collect()
    }
}

#[test]
fn logits_past_the_original_positions_agree_with_transformers() {
    let long = Long::open();
    for mut ctx in contexts() {
        let decoder = long.golden.load(&mut ctx, Precision::F32);
        for (i, row) in long.golden.rows().iter().enumerate() {
            let all = logits(&mut ctx, &decoder, None, &row.ids);
            let kept = long.numbers(&long.golden.json["kept"][i]);
            let got: Vec<f32> =
                kept.iter().flat_map(|&place| all[place as usize * 160..][..160].iter().copied()).collect();
            let what = format!("{} tokens {}", row.ids.len(), device(&ctx));
            assert_close(&what, &got, &wide(&long.tensor(&format!("logits.{i}"))), 3e-5);
        }
    }
}

/// In one pass: each row has the factors of its own length.
#[test]
fn gradients_of_rows_on_both_sides_of_the_original_positions_agree_with_peft() {
    let long = Long::open();
    for (mut ctx, gradient_checkpointing) in contexts().flat_map(|ctx| [(ctx, false)]).chain([(Context::cpu(2), true)])
    {
        let what = device(&ctx);
        let decoder = long.golden.load(&mut ctx, Precision::F32);
        let adapter = Adapter::load(&mut ctx, &decoder, &long.golden.folder.join("adapter_attention")).unwrap();
        let flat = ctx.persistent(1, adapter.parameter_count());
        let kept = SavedActivations::new(gradient_checkpointing);
        let (loss, supervised) = gradients(&mut ctx, &decoder, plain(&adapter), &long.golden.rows(), flat, kept);
        let (loss, expected) = (loss / supervised as f64, long.golden.json["loss"].as_f64().unwrap());
        assert!((loss - expected).abs() <= 5e-5, "{what}: loss {loss}, PEFT {expected}");
        let values: Vec<f32> = ctx.download(flat).iter().map(|g| g / supervised as f32).collect();
        for (entry, got) in adapter.named(&values) {
            let cosine = cosine(got, &long.tensor(&format!("gradient.{}", entry.name)));
            assert!(cosine >= 0.999_999, "{what} {}: cosine {cosine}", entry.name);
        }
    }
}

/// An answer that grows past the original positions is computed again with the other factors, as transformers does; samples that share
/// its prompt go on beside it, and so does a prompt that is long from its beginning.
#[test]
fn answers_across_the_original_positions_agree_with_transformers() {
    let long = Long::open();
    let [prompt, expected] = ["prompt", "greedy"].map(|key| long.numbers(&long.golden.json[key]));
    assert!(prompt.len() < 256 && prompt.len() + expected.len() > 257);
    for mut ctx in contexts() {
        let decoder = Arc::new(long.golden.load(&mut ctx, Precision::F32));
        // small passes, and a cache that has no room for all of it at once
        for context_tokens in [1024, 640] {
            let mut engine = Engine::new(&mut ctx, Arc::clone(&decoder), None, context_tokens, 48);
            let request = |tokens: usize| Request {
                prompt: prompt.iter().chain(&expected).copied().take(tokens).collect(),
                max_new_tokens: prompt.len() + expected.len() - tokens,
                sampling: Sampling::default(),
                stop_ids: vec![],
                top_logprobs: 0,
            };
            let mut wanted = engine.submit_many(request(prompt.len()), 0..3).unwrap();
            wanted.push(engine.submit(request(prompt.len() + 12)).unwrap());
            let mut said = vec![Vec::new(); wanted.len()];
            while !engine.is_idle() {
                for event in engine.step(&mut ctx).to_vec() {
                    let Event::Token { request, token, .. } = event else { panic!("{event:?}") };
                    said[wanted.iter().position(|id| *id == request).unwrap()].push(token);
                }
            }
            let what = device(&ctx);
            said[..3].iter().for_each(|tokens| assert_eq!(tokens, &expected, "{what} {context_tokens}"));
            assert_eq!(said[3], expected[12..], "{what} {context_tokens}");
            let (free, blocks) = engine.free_blocks();
            assert_eq!(free, blocks);
        }
    }
}
