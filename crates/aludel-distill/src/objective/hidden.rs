//! Learning a teacher's hidden states: for each pair of layers, the distance between the two residual streams at the supervised tokens.
//! Where the widths differ, a projection from the student's to the teacher's is trained with the adapter. The other terms of a loss,
//! which read logits, are in `distillation`.

use aludel_kernels::linear::Precision;
use aludel_kernels::loss::hidden::{self, HiddenLoss};
use aludel_kernels::optim::State;
use aludel_kernels::{Context, Indices, Mat, Region, projection, rng, rowwise};

use super::balance::Share;
use crate::supervision::SupervisedBatch;

/// The distance between hidden states, as a term of a loss.
pub struct HiddenStates {
    /// [student, teacher], ascending by the student's.
    pairs: Vec<[usize; 2]>,
    loss: HiddenLoss,
    width: usize,
    projections: Option<Projections>,
    /// Of the pass that runs: the places of its supervised tokens, and the student's states there, [chosen, C] for each pair. From
    /// `HiddenStates::compare` on the latter hold the gradient of the loss.
    places: Option<Indices>,
    states: Vec<Mat>,
    weights: Vec<f32>,
}

/// A linear layer without bias for each pair, from the width of the student to that of the teacher, in one flat buffer.
pub struct Projections {
    /// Weights, gradients and moments.
    pub state: State,
    /// The student's layers that they read, in the order of the buffer.
    pub layers: Vec<usize>,
    /// Width of the teacher, width of the student.
    pub shape: [usize; 2],
    precision: Precision,
}

impl Projections {
    /// Projections as PyTorch initialises a linear layer, uniform within ±1 / √width, from a seed.
    fn new(ctx: &mut Context, layers: Vec<usize>, shape: [usize; 2], precision: Precision, seed: u64) -> Projections {
        let [rows, cols] = shape;
        let bound = 1.0 / (cols as f32).sqrt();
        let values = layers.iter().flat_map(|&layer| {
            let key = rng::mix(rng::mix(seed, 0x7072_6f6a), layer as u64);
            (0..(rows * cols) as u64).map(move |i| (2.0 * rng::uniform(key, i) - 1.0) * bound)
        });
        let values: Vec<f32> = values.collect();
        let parameters = ctx.upload_persistent(1, values.len(), &values);
        let [gradients, first, second] = [(); 3].map(|()| ctx.persistent(1, values.len()));
        let state = State { parameters, gradients, first, second, undecayed: 0 };
        Projections { state, layers, shape, precision }
    }

    /// The part of a flat buffer that belongs to the `number`-th pair.
    pub fn part(&self, flat: Mat, number: usize) -> Mat {
        let [rows, cols] = self.shape;
        flat.col_range(number * rows * cols, rows * cols).reshape(rows, cols)
    }
}

impl HiddenStates {
    /// Compares the states after the layers of these pairs [student, teacher], which must exist. Widths are those of student and teacher;
    /// where they differ, projections start from `seed`.
    pub fn new(
        ctx: &mut Context,
        mut pairs: Vec<[usize; 2]>,
        loss: HiddenLoss,
        [student, teacher]: [usize; 2],
        precision: Precision,
        seed: u64,
    ) -> HiddenStates {
        pairs.sort_unstable();
        let layers = pairs.iter().map(|pair| pair[0]).collect();
        let projections =
            (student != teacher).then(|| Projections::new(ctx, layers, [teacher, student], precision, seed));
        let (states, weights) = (Vec::with_capacity(pairs.len()), Vec::new());
        HiddenStates { pairs, loss, width: student, projections, places: None, states, weights }
    }

    /// The teacher's layers, in the order in which `HiddenStates::compare` takes their states.
    pub fn teacher_layers(&self) -> Vec<usize> {
        self.pairs.iter().map(|pair| pair[1]).collect()
    }

    /// What is trained beside the adapter.
    pub fn projections(&self) -> Option<&Projections> {
        self.projections.as_ref()
    }

    /// Makes room for the states of a pass, which stay until it ends.
    pub(super) fn begin(&mut self, ctx: &mut Context, batch: &SupervisedBatch) {
        self.places = Some(ctx.upload_indices(&batch.chosen));
        self.states.clear();
        let rows = batch.chosen.len();
        self.states.extend(self.pairs.iter().map(|_| ctx.alloc(Region::Saved, rows, self.width)));
    }

    /// Keeps the student's states after a layer, if it is one of the pairs.
    pub(super) fn read(&mut self, ctx: &mut Context, layer: usize, x: Mat) {
        if let Some((places, states)) = self.of_layer(layer) {
            rowwise::gather_rows(ctx, x, places, states);
        }
    }

    /// Places and states of a layer of the student, where there are any.
    fn of_layer(&self, layer: usize) -> Option<(Indices, Mat)> {
        let pair = self.pairs.binary_search_by_key(&layer, |pair| pair[0]).ok()?;
        self.places.filter(|places| !places.is_empty()).map(|places| (places, self.states[pair]))
    }

    /// Writes the loss of each supervised token, the mean over the pairs times its weight and the term's, to `losses`
    /// [1, chosen]. With `gradient`, the states become its gradient, and projections get theirs.
    pub(super) fn compare(
        &mut self,
        ctx: &mut Context,
        batch: &SupervisedBatch,
        teacher: &[Mat],
        term: Share<'_>,
        losses: Mat,
        gradient: bool,
    ) {
        let count = batch.chosen.len();
        if count == 0 {
            return;
        }
        let factor = term.weight / self.pairs.len() as f32;
        self.weights.clear();
        self.weights.extend(batch.weights.iter().map(|own| own * factor));
        let weights = ctx.upload(Region::Io, 1, count, &self.weights);
        for (number, (&states, &target)) in self.states.iter().zip(teacher).enumerate() {
            let mark = ctx.mark();
            let projected = match &self.projections {
                None => states,
                Some(projections) => {
                    let projected = ctx.scratch(count, target.cols());
                    let weight = projections.part(projections.state.parameters, number);
                    projection::forward(ctx, states, weight, projections.precision, projected);
                    projected
                }
            };
            if number == 0 {
                hidden::forward(ctx, projected, target, self.loss, weights, losses);
            } else {
                let own = ctx.scratch(1, count);
                hidden::forward(ctx, projected, target, self.loss, weights, own);
                rowwise::add(ctx, own, losses);
            }
            if gradient {
                let dprojected = ctx.scratch(count, target.cols());
                ctx.zero(dprojected);
                hidden::backward(ctx, projected, target, self.loss, weights, dprojected);
                if let Some((balance, number)) = term.balance {
                    rowwise::scale(ctx, dprojected, balance.factor(number));
                }
                match &self.projections {
                    None => ctx.copy(dprojected, states),
                    Some(projections) => {
                        let [weight, dweight] = [projections.state.parameters, projections.state.gradients]
                            .map(|flat| projections.part(flat, number));
                        projection::backward(ctx, states, weight, dprojected, projections.precision, dweight, states);
                    }
                }
                if let Some((balance, number)) = term.balance {
                    balance.measure(ctx, number, 0..count, states);
                }
            }
            ctx.release(mark);
        }
    }

    /// Adds the gradient of the loss to that of the residual stream after a layer of the student.
    pub(super) fn add_gradient(&mut self, ctx: &mut Context, layer: usize, dhidden: Mat) {
        if let Some((places, gradient)) = self.of_layer(layer) {
            let mark = ctx.mark();
            let sum = ctx.scratch(gradient.rows(), gradient.cols());
            rowwise::gather_rows(ctx, dhidden, places, sum);
            rowwise::add(ctx, gradient, sum);
            rowwise::scatter_rows(ctx, sum, places, dhidden);
            ctx.release(mark);
        }
    }
}
