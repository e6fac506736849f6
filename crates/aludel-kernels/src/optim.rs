//! The optimiser: gradient norm, clipping and AdamW over one flat f32 buffer, exactly once per optimiser step.
//! This is the one place where the summed loss is turned into a mean: gradients are divided by the supervised tokens of the
//! whole step here and nowhere else.

use crate::device::{Context, Device, Mat, assert_apart};
use crate::profile::Kind;
use crate::reference;
use crate::simd::multiversion;

/// What is trained together: parameters, gradients and moments, four flat buffers [1, P] of equal length.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// Trained parameters.
    pub parameters: Mat,
    /// Gradients of the summed loss.
    pub gradients: Mat,
    /// First moments.
    pub first: Mat,
    /// Second moments.
    pub second: Mat,
    /// How many parameters at the end of the buffer do not decay.
    pub undecayed: usize,
}

/// The numbers of one step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// 1 / (supervised tokens of the step).
    pub inverse_count: f32,
    /// Gradients are scaled down to this norm; 0 or infinity leaves them.
    pub max_grad_norm: f32,
    /// β₁.
    pub beta1: f32,
    /// β₂.
    pub beta2: f32,
    /// ε.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Number of this step, from 1, for the bias correction.
    pub number: u64,
}

/// Elements of one task, and of one partial sum of the norm.
const CHUNK: usize = 4096;

/// One AdamW step (Loshchilov and Hutter, 2019) as PyTorch defines it, after clipping by global norm: the gradient is
/// `g·inverse_count·min(1, max_grad_norm / (norm + 1e-6))`, with one norm over all `states`. If the norm is not finite nothing is
/// changed. `norm`, [1, 1], receives the norm of the mean gradient before clipping.
///
/// # Panics
/// If the matrices of a state are not rows of one length, or share elements.
pub fn step(ctx: &mut Context, states: &[State], step: &Step, norm: Mat) {
    let _span = ctx.span(Kind::Optimiser);
    for state in states {
        let count = state.parameters.cols();
        assert!([state.gradients, state.first, state.second].iter().all(|m| m.cols() == count && m.rows() == 1));
    }
    assert_eq!((norm.rows(), norm.cols()), (1, 1));
    match ctx.device() {
        Device::Cpu => {}
        Device::Reference => return reference::optim::step(ctx, states, step, norm),
    }
    let mark = ctx.mark();
    // f64 partial sums, two f32 slots each, so that the sum is the same for any number of threads
    let partial = ctx.scratch(1, states.iter().map(|state| 2 * tasks(state)).sum());
    if ctx.planning() {
        ctx.release(mark);
        return;
    }
    let mut first_slot = 0;
    for state in states {
        let slots = partial.col_range(first_slot, 2 * tasks(state));
        first_slot += slots.cols();
        squares(ctx, state, slots, norm);
    }
    let (sums, nv) = (ctx.view(partial), ctx.view(norm));
    // SAFETY: all tasks have ended.
    let (slots, norm) = unsafe { (sums.row(0), &mut nv.row_mut(0)[0]) };
    let bits = |pair: &[f32]| f64::from_bits(u64::from(pair[0].to_bits()) << 32 | u64::from(pair[1].to_bits()));
    let exact = slots.chunks_exact(2).map(bits).sum::<f64>().sqrt() * f64::from(step.inverse_count);
    *norm = exact as f32;
    if norm.is_finite() {
        let numbers = Numbers::new(step, step.clip(exact));
        states.iter().for_each(|state| update(ctx, state, numbers));
    }
    ctx.release(mark);
}

/// Tasks that the parameters of a state are divided into.
fn tasks(state: &State) -> usize {
    state.parameters.cols().div_ceil(CHUNK)
}

/// The elements of a task.
fn range(state: &State, task: usize) -> (usize, usize) {
    (task * CHUNK, CHUNK.min(state.parameters.cols() - task * CHUNK))
}

/// Writes the sum of squares of each task's gradients to two slots of its own.
fn squares(ctx: &Context, state: &State, slots: Mat, norm: Mat) {
    assert_apart(
        &[state.parameters.place(), state.first.place(), state.second.place(), slots.place(), norm.place()],
        &[state.gradients.place()],
    );
    let (gv, sums, isa) = (ctx.view(state.gradients), ctx.view(slots), ctx.isa());
    ctx.parallel(tasks(state), |task| {
        let (start, len) = range(state, task);
        // SAFETY: gradients are only read; each task writes its own two slots.
        unsafe {
            let sum = square_sum(isa, gv.block(0, 1, start, len)).to_bits();
            let slots = sums.part_mut(0, 2 * task, 2);
            slots[0] = f32::from_bits((sum >> 32) as u32);
            slots[1] = f32::from_bits(sum as u32);
        }
    });
}

/// AdamW on one state, whose buffers lie apart: `squares` asserted it.
fn update(ctx: &Context, state: &State, numbers: Numbers) {
    let (pv, gv, mv, vv) =
        (ctx.view(state.parameters), ctx.view(state.gradients), ctx.view(state.first), ctx.view(state.second));
    let isa = ctx.isa();
    let without_decay = Numbers { decay: 1.0, ..numbers };
    let count = state.parameters.cols();
    let first_undecayed = count - state.undecayed.min(count);
    ctx.parallel(tasks(state), |task| {
        let (start, len) = range(state, task);
        let decayed = first_undecayed.clamp(start, start + len) - start;
        for (start, len, numbers) in [(start, decayed, &numbers), (start + decayed, len - decayed, &without_decay)] {
            if len > 0 {
                // SAFETY: each task writes its own elements; the buffers are apart (asserted).
                unsafe {
                    adamw(
                        isa,
                        pv.part_mut(0, start, len),
                        gv.block(0, 1, start, len),
                        mv.part_mut(0, start, len),
                        vv.part_mut(0, start, len),
                        numbers,
                    );
                }
            }
        }
    });
}

impl Step {
    /// The factor that clips a gradient of this norm.
    pub(crate) fn clip(&self, norm: f64) -> f64 {
        let clips = self.max_grad_norm > 0.0 && self.max_grad_norm.is_finite();
        if clips { (f64::from(self.max_grad_norm) / (norm + 1e-6)).min(1.0) } else { 1.0 }
    }
}

impl Default for Step {
    /// PyTorch's defaults, at step 1, without clipping.
    fn default() -> Step {
        Step {
            learning_rate: 1e-3,
            inverse_count: 1.0,
            max_grad_norm: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            number: 1,
        }
    }
}

#[derive(Clone, Copy)]
struct Numbers {
    gradient_scale: f32,
    beta1: f32,
    beta2: f32,
    decay: f32,
    step_size: f32,
    inverse_sqrt_correction2: f32,
    epsilon: f32,
}

impl Numbers {
    fn new(step: &Step, clip: f64) -> Numbers {
        let correction = |beta: f32| 1.0 - f64::from(beta).powi(step.number.min(i32::MAX as u64) as i32);
        Numbers {
            gradient_scale: (f64::from(step.inverse_count) * clip) as f32,
            beta1: step.beta1,
            beta2: step.beta2,
            decay: 1.0 - step.learning_rate * step.weight_decay,
            step_size: (f64::from(step.learning_rate) / correction(step.beta1)) as f32,
            inverse_sqrt_correction2: (1.0 / correction(step.beta2).sqrt()) as f32,
            epsilon: step.epsilon,
        }
    }
}

multiversion! {
    fn square_sum(values: &[f32]) -> f64 {
        let mut lanes = [0f64; 8];
        for (i, &x) in values.iter().enumerate() {
            lanes[i % 8] += f64::from(x) * f64::from(x);
        }
        lanes.iter().sum()
    }
}

multiversion! {
    fn adamw(parameters: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32], n: &Numbers) {
        for i in 0..parameters.len() {
            let g = gradients[i] * n.gradient_scale;
            first[i] = n.beta1 * first[i] + (1.0 - n.beta1) * g;
            second[i] = n.beta2 * second[i] + (1.0 - n.beta2) * g * g;
            let denominator = second[i].sqrt() * n.inverse_sqrt_correction2 + n.epsilon;
            parameters[i] = parameters[i] * n.decay - n.step_size * first[i] / denominator;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_close, random, wide};

    /// At the end, in the middle of a task.
    const UNDECAYED: usize = 3_000;

    fn run(count: usize, steps: u64, threads: usize, poison: bool) -> (Vec<f32>, f64) {
        let mut ctx = Context::cpu(threads);
        let [parameters, gradients] = [1, 2].map(|seed| ctx.upload_persistent(1, count, &random(seed, count)));
        let [first, second] = [(); 2].map(|()| ctx.persistent(1, count));
        let state = State { parameters, gradients, first, second, undecayed: UNDECAYED };
        if poison {
            ctx.write(gradients.col_range(3, 1), &[f32::NAN]);
        }
        let numbers = |number| Step {
            learning_rate: 0.01,
            inverse_count: 0.1,
            max_grad_norm: 0.5,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.1,
            number,
        };
        let norm = ctx.persistent(1, 1);
        ctx.plan(|ctx| step(ctx, &[state], &numbers(1), norm));
        (1..=steps).for_each(|number| step(&mut ctx, &[state], &numbers(number), norm));
        (ctx.download(parameters), f64::from(ctx.download_value(norm)))
    }

    #[test]
    fn matches_the_formula_in_f64() {
        let count = 10_000;
        let (got, norm) = run(count, 3, 2, false);
        let (mut p, g) = (wide(&random(1, count)), wide(&random(2, count)));
        let expected_norm = g.iter().map(|g| g * g).sum::<f64>().sqrt() * 0.1;
        assert!((norm - expected_norm).abs() <= 1e-6 * expected_norm);
        let clip = (0.5 / (expected_norm + 1e-6)).min(1.0);
        let (mut m, mut v) = (vec![0f64; count], vec![0f64; count]);
        for t in 1..=3 {
            for i in 0..count {
                let g = g[i] * 0.1 * clip;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.999f64.powi(t)));
                let decay = if i < count - UNDECAYED { 1.0 - 0.01 * 0.1 } else { 1.0 };
                p[i] = p[i] * decay - 0.01 * mh / (vh.sqrt() + 1e-8);
            }
        }
        assert_close("adamw", &got, &p, 1e-5);
        assert_eq!(run(count, 3, 1, false).0, got, "threads change bits");
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let (got, norm) = run(100, 1, 1, true);
        assert!(norm.is_nan());
        assert_eq!(got, random(1, 100));
    }

    /// Parameters in two buffers are clipped by one norm, and move as they would in one buffer.
    #[test]
    fn two_states_are_one_optimiser() {
        let count = 2 * CHUNK;
        for mut ctx in [Context::cpu(2), Context::reference()] {
            let all: [Vec<f32>; 2] = [1, 2].map(|seed| random(seed, count));
            let mut state = |from: usize, len: usize| {
                let [parameters, gradients] =
                    all.each_ref().map(|values| ctx.upload_persistent(1, len, &values[from..from + len]));
                let [first, second] = [(); 2].map(|()| ctx.persistent(1, len));
                State { parameters, gradients, first, second, undecayed: 0 }
            };
            let (whole, parts) = (state(0, count), [state(0, CHUNK), state(CHUNK, CHUNK)]);
            let numbers = Step { max_grad_norm: 0.5, weight_decay: 0.1, ..Step::default() };
            let norms = [ctx.persistent(1, 1), ctx.persistent(1, 1)];
            for (states, norm) in [(&[whole][..], norms[0]), (&parts, norms[1])] {
                ctx.plan(|ctx| step(ctx, states, &numbers, norm));
                step(&mut ctx, states, &numbers, norm);
            }
            let moved = parts.map(|part| ctx.download(part.parameters)).concat();
            assert_eq!(ctx.download(whole.parameters), moved);
            assert_eq!(ctx.download(norms[0]), ctx.download(norms[1]));
        }
    }
}
