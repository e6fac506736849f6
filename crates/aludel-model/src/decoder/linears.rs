//! The linears of a layer in its forward and backward: what prepares their inputs, their adapters, and their gradients. The order of a
//! layer's ops is the parent's matter.

use aludel_kernels::linear::{self, Input, LoraBackward, Product, Start};
use aludel_kernels::rowwise::dropout::Dropout;
use aludel_kernels::rowwise::{self, columns, rms_norm};
use aludel_kernels::{Context, Mat, rng};

use super::{Decoder, Run, Saved};
use crate::module::{Module, SITES};

impl Decoder {
    /// Room for queries, keys and values, by columns: what one linear makes is one matrix, of which they are parts.
    pub(super) fn queries_keys_values(&self, mut alloc: impl FnMut(usize) -> Mat) -> (Option<Mat>, [Mat; 3]) {
        let (query, key) = (self.heads.query * self.heads.dim, self.heads.key * self.heads.dim);
        if !self.config.has_fused_linears {
            return (None, [query, key, key].map(alloc));
        }
        let all = alloc(query + 2 * key);
        (Some(all), [all.col_range(0, query), all.col_range(query, key), all.col_range(query + key, key)])
    }

    /// Room for gate and up, as for queries, keys and values.
    pub(super) fn gate_and_up(&self, mut alloc: impl FnMut(usize) -> Mat) -> (Option<Mat>, [Mat; 2]) {
        let inner = self.config.intermediate_size;
        if !self.config.has_fused_linears {
            return (None, [inner, inner].map(alloc));
        }
        let both = alloc(2 * inner);
        (Some(both), [both.col_range(0, inner), both.col_range(inner, inner)])
    }

    /// x prepared for the linears that read it; in scratch.
    pub(super) fn input(&self, ctx: &mut Context, run: &Run<'_>, n: usize, modules: &[Module], x: Mat) -> Input {
        let layer = &self.layers[n];
        let weights = modules.iter().map(|&module| layer.linear(module).weight);
        Input::new(ctx, x, weights, modules.iter().any(|&module| run.lora(n, module).is_some()))
    }

    /// The norm of x prepared for the linears that read it; in scratch.
    pub(super) fn normed_input(
        &self,
        ctx: &mut Context,
        run: &Run<'_>,
        n: usize,
        modules: &[Module],
        x: Mat,
        norm: Mat,
    ) -> Input {
        let epsilon = self.config.rms_norm_eps as f32;
        if !self.reads_rows(run, n, modules) {
            return rms_norm::packed(ctx, x, norm, epsilon, self.precision);
        }
        let normed = ctx.scratch(x.rows(), x.cols());
        rms_norm::forward(ctx, x, norm, epsilon, normed);
        self.input(ctx, run, n, modules, normed)
    }

    /// Whether anything but a product in [`Decoder::precision`] reads the input of these linears.
    pub(super) fn reads_rows(&self, run: &Run<'_>, n: usize, modules: &[Module]) -> bool {
        modules.iter().any(|&module| {
            let is_kept = self.layers[n].linear(module).weight.is_kept();
            is_kept || run.lora(n, module).is_some_and(|lora| lora.dropout.is_some())
        })
    }

    /// The linears that read one input, each with its output; a residual is added to each.
    pub(super) fn linears_forward<const N: usize>(
        &self,
        ctx: &mut Context,
        run: &Run<'_>,
        n: usize,
        input: &Input,
        outputs: [(Module, Mat); N],
        residual: Option<Mat>,
        saved: &Saved,
    ) {
        let loras = outputs.map(|(module, _)| run.lora(n, module));
        let linear = |module: Module| self.layers[n].linear(module);
        let products: [Product<'_>; N] = std::array::from_fn(|i| {
            let (module, y) = outputs[i];
            let weight = linear(module).weight;
            let start = match (self.bias(run, n, module), residual) {
                (Some(bias), _) => Start::Bias(bias),
                (None, Some(residual)) => Start::Residual(residual),
                (None, None) => Start::Zero,
            };
            Product { weight, lora: loras[i].as_ref().zip(saved.lora_hidden[module as usize]), start, y }
        });
        linear::forward(ctx, input, &products);
        for (module, y) in outputs {
            if let (Some(_), Some(residual)) = (self.bias(run, n, module), residual) {
                rowwise::add(ctx, residual, y);
            }
        }
    }

    /// The bias of a linear: that of the adapter, if it trains it.
    fn bias(&self, run: &Run<'_>, n: usize, module: Module) -> Option<Mat> {
        let trained = run.active.and_then(|active| active.adapter.bias(n, module));
        trained.or(self.layers[n].linear(module).bias)
    }

    /// The gradient of a linear's output, prepared for its backward; in scratch.
    pub(super) fn gradient(&self, ctx: &mut Context, n: usize, module: Module, dy: Mat) -> Input {
        Input::new(ctx, dy, std::iter::once(self.layers[n].linear(module).weight), true)
    }

    pub(super) fn linear_backward(
        &self,
        ctx: &mut Context,
        run: &Run<'_>,
        n: usize,
        module: Module,
        saved: &Saved,
        dy: &Input,
        x: Mat,
        accumulate: bool,
        dx: Mat,
        gradients: Mat,
    ) {
        let lora = run.lora(n, module);
        let gradient = run.active.and_then(|a| a.adapter.lora_gradient(n, module, gradients));
        let adapted = match (&lora, saved.lora_hidden[module as usize], gradient) {
            (Some(lora), Some(hidden), Some(gradient)) => Some(LoraBackward { lora, x, hidden, gradient }),
            _ => None,
        };
        let bias = run.active.and_then(|a| a.adapter.bias_gradient(n, module, gradients));
        if let Some(bias) = bias {
            columns::add_sums(ctx, dy.rows(), bias);
        }
        linear::backward(ctx, dy, self.layers[n].linear(module).weight, adapted, accumulate, dx);
        if let Some(active) = run.active {
            active.adapter.mask_gradient(ctx, n, module, gradients);
        }
    }

    /// `y = residual + linear(input)`, for the linear that ends attention or the gated layer; its output may be normed first.
    pub(super) fn output_forward(
        &self,
        ctx: &mut Context,
        run: &Run<'_>,
        n: usize,
        input: &Input,
        module: Module,
        residual: Mat,
        y: Mat,
        saved: &Saved,
    ) {
        let Some((norm, output)) = self.output_norm(n, module, saved) else {
            return self.linears_forward(ctx, run, n, input, [(module, y)], Some(residual), saved);
        };
        self.linears_forward(ctx, run, n, input, [(module, output)], None, saved);
        rms_norm::forward(ctx, output, norm, self.config.rms_norm_eps as f32, y);
        rowwise::add(ctx, residual, y);
    }

    /// The gradient of what a linear that ends attention or the gated layer gives, from that of the residual stream; in scratch.
    pub(super) fn output_gradient(&self, ctx: &mut Context, n: usize, module: Module, saved: &Saved, dx: Mat) -> Input {
        let Some((norm, output)) = self.output_norm(n, module, saved) else {
            return self.gradient(ctx, n, module, dx);
        };
        let doutput = ctx.scratch(dx.rows(), dx.cols());
        ctx.zero(doutput);
        rms_norm::backward(ctx, output, norm, self.config.rms_norm_eps as f32, dx, doutput);
        self.gradient(ctx, n, module, doutput)
    }

    /// The norm behind a linear that ends attention or the gated layer, and what it norms.
    fn output_norm(&self, n: usize, module: Module, saved: &Saved) -> Option<(Mat, Mat)> {
        let which = usize::from(module == Module::DownProj);
        Some((self.layers[n].output_norms?[which], saved.outputs?[which]))
    }
}

impl Run<'_> {
    /// Whether anything of a linear is trained.
    pub(super) fn is_trained(&self, n: usize, module: Module) -> bool {
        self.active.is_some_and(|active| active.adapter.is_trained(n, module))
    }

    /// The adapter of a linear, with the dropout mask of this step and site.
    pub(super) fn lora(&self, n: usize, module: Module) -> Option<linear::Lora> {
        let active = self.active?;
        let dropout = active.dropout.map(|step| Dropout {
            probability: step.probability,
            key: rng::mix(step.key, (n * SITES + module.site()) as u64),
            examples: self.examples,
            positions: self.positions,
        });
        let mut lora = active.adapter.lora(n, module, dropout)?;
        if let Some(dora) = &mut lora.dora {
            dora.has_scales = self.has_scales;
        }
        Some(lora)
    }
}
