//! GGUF, the format of llama.cpp, of one file or several parts: a checked reader over a mapped file, a writer, and the metadata values
//! that both share. What the keys and tensor names mean is left to the callers.
//!
//! The layout (version 3, and 2 which differs in nothing read here), all little-endian: magic, version, tensor count,
//! key count; the keys with typed values; the tensors' names, extents (innermost first), types and offsets; padding
//! to the alignment; the tensors' data.

mod head;
mod metadata;
mod reader;
mod split;
mod value;
mod writer;

pub use head::architecture;
pub use metadata::{FromValue, Metadata};
pub use reader::File;
pub use split::parts_by_name;
pub use value::{Array, Value};
pub use writer::Writer;

const MAGIC: [u8; 4] = *b"GGUF";
const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u32 = 32;
const MOST_DIMENSIONS: u32 = 4;
