//! For tests: everything that reads what strangers wrote, as functions of bytes. The fuzzers of `fuzz/` call them on inputs that
//! libFuzzer makes, and this crate's own test on a fixed corpus with fixed mutations. A target may refuse its input; it must not
//! panic, hang or take much memory.
#![allow(clippy::disallowed_methods)] // it reads its own seeds, and is for tests alone

mod mutate;
mod scratch;
mod seeds;
mod targets;

pub use mutate::mutated;
pub use scratch::Scratch;
pub use seeds::{generated, read};
pub use targets::Outcome;

/// Something that reads bytes from outside.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of the fuzzer, and of the folder with its seeds.
    pub name: &'static str,
    /// Reads the bytes as a user's command would.
    pub run: fn(&[u8], &Scratch) -> Outcome,
    /// The most memory that reading may take beside what is held before, in bytes.
    pub most_bytes: u64,
    /// How many mutations of its seeds the test tries.
    pub mutations: u64,
}

const MIB: u64 = 1 << 20;

/// All of them.
pub const TARGETS: [Target; 8] = [
    Target { name: "gguf", run: targets::gguf, most_bytes: 32 * MIB, mutations: 1_000 },
    Target { name: "safetensors", run: targets::safetensors, most_bytes: 8 * MIB, mutations: 3_000 },
    Target { name: "model_config", run: targets::model_config, most_bytes: 8 * MIB, mutations: 3_000 },
    Target { name: "adapter_config", run: targets::adapter_config, most_bytes: 32 * MIB, mutations: 2_000 },
    Target { name: "tokenizer_json", run: targets::tokenizer_json, most_bytes: 128 * MIB, mutations: 500 },
    Target { name: "chat_template", run: targets::chat_template, most_bytes: 64 * MIB, mutations: 1_000 },
    Target { name: "parquet", run: targets::parquet, most_bytes: 64 * MIB, mutations: 2_000 },
    Target { name: "sse", run: targets::sse, most_bytes: 32 * MIB, mutations: 3_000 },
];

/// The target of a name: what a fuzzer calls.
///
/// # Panics
/// If there is none of that name.
pub fn fuzz(name: &str, bytes: &[u8]) {
    thread_local! {
        static SCRATCH: Scratch = Scratch::create();
    }
    let target = TARGETS.iter().find(|target| target.name == name).expect("the name of a target");
    SCRATCH.with(|scratch| drop((target.run)(bytes, scratch)));
}
