//! AdamW after clipping by global norm.

use crate::device::{Context, Mat};
use crate::optim::{State, Step};

pub(crate) fn step(ctx: &mut Context, states: &[State], step: &Step, norm: Mat) {
    if ctx.planning() {
        return;
    }
    let gradients = states.iter().flat_map(|state| ctx.download(state.gradients));
    let squares: f64 = gradients.map(|g| f64::from(g) * f64::from(g)).sum();
    let total = squares.sqrt() * f64::from(step.inverse_count);
    ctx.write(norm, &[total as f32]);
    if (total as f32).is_finite() {
        let scale = (f64::from(step.inverse_count) * step.clip(total)) as f32;
        states.iter().for_each(|state| update(ctx, state, step, scale));
    }
}

fn update(ctx: &mut Context, state: &State, step: &Step, scale: f32) {
    let gradients = ctx.download(state.gradients);
    let [mut parameters, mut first, mut second] =
        [state.parameters, state.first, state.second].map(|mat| ctx.download(mat));
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(step.number as f64);
    let (correction1, correction2) = (correction(step.beta1) as f32, correction(step.beta2) as f32);
    for (i, gradient) in gradients.iter().enumerate() {
        let g = gradient * scale;
        first[i] = step.beta1 * first[i] + (1.0 - step.beta1) * g;
        second[i] = step.beta2 * second[i] + (1.0 - step.beta2) * g * g;
        let (mean, variance) = (first[i] / correction1, second[i] / correction2);
        if i < gradients.len() - state.undecayed.min(gradients.len()) {
            parameters[i] -= step.learning_rate * step.weight_decay * parameters[i];
        }
        parameters[i] -= step.learning_rate * mean / (variance.sqrt() + step.epsilon);
    }
    for (mat, values) in [(state.parameters, parameters), (state.first, first), (state.second, second)] {
        ctx.write(mat, &values);
    }
}
