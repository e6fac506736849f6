//! What adapters need of the model that they are put onto: its config, and the weights that magnitudes and biases start from.

use aludel_kernels::{Context, Mat};

use crate::config::Config;
use crate::module::Module;

/// A model that adapters are put onto: a decoder, or its config alone where nothing is computed.
pub trait Base {
    /// Its config.
    fn config(&self) -> &Config;

    /// The sum of squares of each row of a linear's weight, [1, d_out], in memory that lives as long as the context; `None` where
    /// the weights are not at hand.
    fn row_squares(&self, ctx: &mut Context, layer: usize, module: Module) -> Option<Mat>;

    /// The bias of a linear; `None` if it has none, or if it is not at hand.
    fn bias(&self, ctx: &Context, layer: usize, module: Module) -> Option<Vec<f32>>;
}

impl Base for Config {
    fn config(&self) -> &Config {
        self
    }

    fn row_squares(&self, _: &mut Context, _: usize, _: Module) -> Option<Mat> {
        None
    }

    fn bias(&self, _: &Context, _: usize, _: Module) -> Option<Vec<f32>> {
        None
    }
}
