//! Small models from `aludel-model`'s fixtures, and training rows for them.

use std::path::{Path, PathBuf};

use aludel_data::dataset::PromptKey;
use aludel_data::token_cache::{RowInfo, TokenRow};
use aludel_formats::hf;
use aludel_kernels::Context;
use aludel_kernels::linear::Precision;
use aludel_model::adapter::Adapter;
use aludel_model::config::Config;
use aludel_model::decoder::Decoder;
use aludel_model::weights::{Files, Weights};

fn fixture(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../aludel-model/tests/fixtures").join(model)
}

pub(crate) fn load(ctx: &mut Context, model: &str, precision: Precision) -> Decoder {
    let folder = hf::Folder::open(fixture(model).join("model")).unwrap();
    let config = Config::from_hf(folder.config(), &folder.config_path()).unwrap();
    let weights = Weights::new(Files::Folder(folder.weights().unwrap()), &config).unwrap();
    Decoder::load(ctx, &config, &weights, precision, 512).unwrap()
}

pub(crate) fn load_adapter(ctx: &mut Context, decoder: &Decoder, model: &str, name: &str) -> Adapter {
    Adapter::load(ctx, decoder.config(), &fixture(model).join(format!("adapter_{name}"))).unwrap()
}

pub(crate) fn tokens(seed: u32, count: u32) -> Vec<u32> {
    (0..count).map(|i| (seed + i * 37) % 160).collect()
}

/// A row whose second half is trained on.
pub(crate) fn row(number: u32, length: u32) -> (u32, TokenRow) {
    let weights = (0..length).map(|t| if t < length / 2 { 0.0 } else { 1.0 }).collect();
    let info = RowInfo {
        tokens: length,
        supervised: length.div_ceil(2),
        example: number.into(),
        prompt_key: PromptKey(0),
        file_index: 0,
        line: 0,
    };
    (number, TokenRow { ids: tokens(number, length), weights, context: Vec::new(), info })
}
