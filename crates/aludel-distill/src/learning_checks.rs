//! Checks that a run learns: each module with an adapter has a gradient in the first steps of a session, and the saved adapter has an
//! effect. They look at B, never at A, whose gradient is zero as long as B is. The training loop decides what follows from a failed check.

use std::collections::BTreeMap;

use aludel_kernels::Mat;

use crate::error::{Error, Result};
use crate::learner::Learner;

/// Steps in which a module may stay without a gradient: in the first of them the learning rate may be 0, and a gradient may have to
/// wait for another adapter behind it to move.
const STEPS: u64 = 5;

/// The modules that have had no gradient yet. Once it is empty, a step costs nothing.
pub(crate) struct UntrainedModules {
    /// B's, among the adapter's entries.
    silent: Vec<usize>,
    steps: u64,
}

impl UntrainedModules {
    /// A check for this session's steps.
    pub(crate) fn new(learner: &Learner) -> UntrainedModules {
        UntrainedModules { silent: factors(learner).map(|(entry, ..)| entry).collect(), steps: 0 }
    }

    /// Looks at the gradients of a step, which must be finite.
    ///
    /// # Errors
    /// [`Error::NoGradient`] names the modules that had none in this session's first steps, or in all of a run that `is_last` ends.
    pub(crate) fn watch(&mut self, learner: &Learner, step: u64, is_last: bool) -> Result<()> {
        if self.silent.is_empty() {
            return Ok(());
        }
        let entries = learner.adapter.entries();
        self.silent.retain(|&entry| is_zero(&learner.ctx.download(entries[entry].view(learner.state.gradients))));
        self.steps += 1;
        if self.silent.is_empty() || (self.steps < STEPS && !is_last) {
            return Ok(());
        }
        let silent = factors(learner).filter(|(entry, ..)| self.silent.contains(entry));
        let modules = listed(silent.map(|(_, layer, module)| (layer, module)));
        Err(Error::NoGradient { step, steps: self.steps, modules })
    }
}

/// Refuses an adapter some of whose B are zero everywhere.
///
/// # Errors
/// [`Error::Untrained`] names the modules.
pub(crate) fn check_trained(learner: &Learner) -> Result<()> {
    let modules = modules_where(learner, learner.state.parameters, is_zero);
    if modules.is_empty() { Ok(()) } else { Err(Error::Untrained { modules }) }
}

/// The modules whose gradient is not finite, as a message names them; empty if there are none.
pub(crate) fn not_finite(learner: &Learner) -> String {
    modules_where(learner, learner.state.gradients, |values| values.iter().any(|value| !value.is_finite()))
}

/// The modules whose B in a flat buffer is as `is` says.
fn modules_where(learner: &Learner, flat: Mat, is: impl Fn(&[f32]) -> bool) -> String {
    let entries = learner.adapter.entries();
    let found = factors(learner).filter(|&(entry, ..)| is(&learner.ctx.download(entries[entry].view(flat))));
    listed(found.map(|(_, layer, module)| (layer, module)))
}

fn is_zero(values: &[f32]) -> bool {
    values.iter().all(|&value| value == 0.0)
}

/// Every B: its entry, its layer and its module's path there.
fn factors(learner: &Learner) -> impl Iterator<Item = (usize, usize, &'static str)> {
    learner.adapter.linears().map(|(layer, module, [_, b])| (b, layer, module.path()))
}

/// `self_attn.q_proj of layers 0-3 and 7, mlp.up_proj of layer 2`.
fn listed(modules: impl Iterator<Item = (usize, &'static str)>) -> String {
    let mut layers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    modules.for_each(|(layer, module)| layers.entry(module).or_default().push(layer));
    let texts = layers.into_iter().map(|(module, mut layers)| {
        layers.sort_unstable();
        let runs = layers.chunk_by(|one, next| one + 1 == *next).map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            _ => run[0].to_string(),
        });
        let runs: Vec<String> = runs.collect();
        format!("{module} of layer{} {}", if layers.len() > 1 { "s" } else { "" }, runs.join(" and "))
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use aludel_data::dataset::PromptKey;
    use aludel_data::token_cache::{RowInfo, TokenRow};
    use aludel_formats::hf;
    use aludel_formats::peft::{AdapterConfig, TargetModules};
    use aludel_kernels::linear::Precision;
    use aludel_kernels::{Context, optim};
    use aludel_model::adapter::{Adapter, AdapterInit, AdapterOptions};
    use aludel_model::config::Config;
    use aludel_model::decoder::Decoder;
    use aludel_model::weights::{Files, Weights};

    /// A small model of two layers with a new adapter on every linear.
    fn learner() -> Learner {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../aludel-model/tests/fixtures/untied/model");
        let folder = hf::Folder::open(model).unwrap();
        let config = Config::from_hf(folder.config(), &folder.config_path()).unwrap();
        let mut ctx = Context::cpu(1);
        let weights = Weights::new(Files::Folder(folder.weights().unwrap()), &config).unwrap();
        let decoder = Decoder::load(&mut ctx, &config, &weights, Precision::F32, 64).unwrap();
        let options = AdapterOptions {
            config: AdapterConfig {
                r: 2,
                lora_alpha: 4.0,
                target_modules: Some(TargetModules::Pattern("all-linear".to_owned())),
                ..AdapterConfig::default()
            },
            init: AdapterInit::Kaiming,
            seed: 1,
            rows: None,
        };
        let adapter = Adapter::new(&mut ctx, &config, &options, "base").unwrap();
        let mut learner = Learner::new(ctx, decoder, adapter, false);
        learner.plan(64);
        learner
    }

    /// A step on one row of `tokens` tokens, each but the first with this weight.
    fn step(learner: &mut Learner, number: u64, tokens: u32, weight: f32) {
        let info =
            RowInfo { tokens, supervised: tokens - 1, example: 0, prompt_key: PromptKey(0), file_index: 0, line: 0 };
        let ids = (0..tokens).map(|i| (i * 37 + 5) % 160).collect();
        let row = TokenRow { ids, weights: vec![weight; tokens as usize], context: Vec::new(), info };
        learner.zero_gradients();
        learner.accumulate(&[(0, row)], None).unwrap();
        learner.step(&optim::Step { learning_rate: 1e-3, number, ..optim::Step::default() });
    }

    #[test]
    fn a_run_that_learns_is_proven_in_a_step() {
        let mut learner = learner();
        assert!(matches!(check_trained(&learner), Err(Error::Untrained { .. })), "nothing is learnt yet");
        let mut untrained = UntrainedModules::new(&learner);
        step(&mut learner, 1, 20, 1.0);
        untrained.watch(&learner, 1, true).unwrap();
        assert!(untrained.silent.is_empty());
        check_trained(&learner).unwrap();
        assert_eq!(not_finite(&learner), "");
    }

    #[test]
    fn masked_rows_are_stopped_after_some_steps_and_at_the_end_of_a_run() {
        let mut learner = learner();
        let mut untrained = UntrainedModules::new(&learner);
        for number in 1..STEPS {
            step(&mut learner, number, 20, 0.0);
            untrained.watch(&learner, number, false).unwrap();
        }
        step(&mut learner, STEPS, 20, 0.0);
        let error = untrained.watch(&learner, STEPS, false).unwrap_err().to_string();
        assert!(error.contains("self_attn.q_proj of layers 0-1") && error.contains("each of 5 steps"), "{error}");
        assert!(UntrainedModules::new(&learner).watch(&learner, 1, true).is_err(), "a run of one step");
    }

    #[test]
    fn layers_are_told_in_runs() {
        let names = |layers: &[usize]| listed(layers.iter().map(|&layer| (layer, "mlp.up_proj")));
        assert_eq!(names(&[4]), "mlp.up_proj of layer 4");
        assert_eq!(names(&[7, 1, 2, 0]), "mlp.up_proj of layers 0-2 and 7");
    }
}
