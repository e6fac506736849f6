//! A tensor in a file: a name, an element type, a shape, and bytes borrowed from the mapped file. The block geometry of
//! the quantised types is here; decoding their bytes is left to `aludel-kernels`.

use std::fmt;

/// How the elements of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(non_camel_case_types, reason = "these are the names that every GGUF tool prints")]
#[expect(missing_docs, reason = "the names say it all; the table below holds their geometry")]
pub enum Dtype {
    F32,
    F16,
    BF16,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    Bool,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
}

/// One row of the table: (type, name, elements in a block, bytes in a block, number in GGUF files).
type Row = (Dtype, &'static str, usize, usize, Option<u32>);

const TABLE: [Row; 20] = [
    (Dtype::F32, "F32", 1, 4, Some(0)),
    (Dtype::F16, "F16", 1, 2, Some(1)),
    (Dtype::BF16, "BF16", 1, 2, Some(30)),
    (Dtype::F64, "F64", 1, 8, Some(28)),
    (Dtype::I8, "I8", 1, 1, Some(24)),
    (Dtype::I16, "I16", 1, 2, Some(25)),
    (Dtype::I32, "I32", 1, 4, Some(26)),
    (Dtype::I64, "I64", 1, 8, Some(27)),
    (Dtype::U8, "U8", 1, 1, None),
    (Dtype::Bool, "BOOL", 1, 1, None),
    (Dtype::Q4_0, "Q4_0", 32, 18, Some(2)),
    (Dtype::Q4_1, "Q4_1", 32, 20, Some(3)),
    (Dtype::Q5_0, "Q5_0", 32, 22, Some(6)),
    (Dtype::Q5_1, "Q5_1", 32, 24, Some(7)),
    (Dtype::Q8_0, "Q8_0", 32, 34, Some(8)),
    (Dtype::Q2_K, "Q2_K", 256, 84, Some(10)),
    (Dtype::Q3_K, "Q3_K", 256, 110, Some(11)),
    (Dtype::Q4_K, "Q4_K", 256, 144, Some(12)),
    (Dtype::Q5_K, "Q5_K", 256, 176, Some(13)),
    (Dtype::Q6_K, "Q6_K", 256, 210, Some(14)),
];

impl Dtype {
    /// Every type, in the order of declaration.
    pub fn all() -> impl Iterator<Item = Dtype> {
        TABLE.iter().map(|row| row.0)
    }

    /// The type's name in files and messages: `F32`, `Q4_K`, `BOOL`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Elements in one block; 1 for the types that are not quantised.
    pub fn block_len(self) -> usize {
        self.row().2
    }

    /// Bytes in one block.
    pub fn block_bytes(self) -> usize {
        self.row().3
    }

    /// The type's number in a GGUF file, `None` where GGUF has no such type.
    pub fn ggml_type_id(self) -> Option<u32> {
        self.row().4
    }

    /// The type with that number in a GGUF file; `None` for numbers that are unknown or not supported.
    pub fn from_ggml_type_id(id: u32) -> Option<Dtype> {
        TABLE.iter().find(|row| row.4 == Some(id)).map(|row| row.0)
    }

    /// The type with that name in a safetensors header; quantised types never occur there.
    pub fn from_safetensors_name(name: &str) -> Option<Dtype> {
        TABLE.iter().find(|row| row.1 == name && row.2 == 1).map(|row| row.0)
    }

    /// Whether elements come in blocks that share a scale.
    pub fn is_quantised(self) -> bool {
        self.block_len() > 1
    }

    /// The bytes that the given number of elements take; `None` if they do not fill whole blocks or the product overflows.
    pub fn bytes_for(self, elements: usize) -> Option<usize> {
        if !elements.is_multiple_of(self.block_len()) {
            return None;
        }
        (elements / self.block_len()).checked_mul(self.block_bytes())
    }

    fn row(self) -> &'static Row {
        // The table is in the order of declaration; a test holds it to that.
        &TABLE[self as usize]
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A tensor in a mapped file; its bytes are in range and of the length that type and shape need.
///
/// The bytes have no promised alignment in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorView<'a> {
    /// The tensor's name, as the file has it.
    pub name: &'a str,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Row-major, outermost dimension first (for GGUF, this is its own order turned round).
    pub shape: Vec<usize>,
    /// The stored bytes, little-endian.
    pub bytes: &'a [u8],
}

impl TensorView<'_> {
    /// The number of elements.
    pub fn elements(&self) -> usize {
        // Readers checked the product.
        self.shape.iter().product()
    }

    /// What a writer needs to know to store the same tensor.
    pub fn spec(&self) -> TensorSpec {
        TensorSpec { name: self.name.to_owned(), dtype: self.dtype, shape: self.shape.clone() }
    }
}

/// A tensor that is about to be written: everything but its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Row-major, outermost dimension first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A tensor of that name, type and shape.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: impl Into<Vec<usize>>) -> Self {
        TensorSpec { name: name.into(), dtype, shape: shape.into() }
    }

    /// The bytes that it takes; `None` where the product overflows or a row does not fill whole blocks.
    pub fn byte_count(&self) -> Option<usize> {
        byte_count(self.dtype, &self.shape)
    }
}

/// The bytes of a tensor; `None` where the product overflows or a row does not fill whole blocks.
pub(crate) fn byte_count(dtype: Dtype, shape: &[usize]) -> Option<usize> {
    let row_elements = shape.last().copied().unwrap_or(1);
    if !row_elements.is_multiple_of(dtype.block_len()) {
        return None;
    }
    let elements = shape.iter().try_fold(1usize, |product, extent| product.checked_mul(*extent))?;
    dtype.bytes_for(elements)
}

/// A GGUF element type in words: its name, with its number where the name is unknown.
pub fn ggml_type_name(id: u32) -> String {
    if let Some(dtype) = Dtype::from_ggml_type_id(id) {
        return dtype.name().to_owned();
    }
    let known = UNSUPPORTED_GGML_TYPES.iter().find(|(number, _)| *number == id);
    known.map_or_else(|| format!("number {id}"), |(_, name)| (*name).to_owned())
}

/// Types that GGUF files do hold and that are not decoded here, so that a message can name them.
const UNSUPPORTED_GGML_TYPES: [(u32, &str); 16] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_declaration() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, index, "{}", row.1);
            assert_eq!(row.0.ggml_type_id().and_then(Dtype::from_ggml_type_id), row.4.map(|_| row.0), "{}", row.1);
        }
    }

    #[test]
    fn bytes_for_refuses_part_blocks_and_overflow() {
        fn check(dtype: Dtype, elements: usize, wanted: Option<usize>) {
            assert_eq!(dtype.bytes_for(elements), wanted, "{dtype} × {elements}");
        }
        check(Dtype::F32, 3, Some(12));
        check(Dtype::Q4_1, 64, Some(40));
        check(Dtype::Q4_1, 33, None);
        check(Dtype::Q6_K, 256, Some(210));
        check(Dtype::F64, usize::MAX / 4, None);
        check(Dtype::Q8_0, 0, Some(0));
    }

    #[test]
    fn a_quantised_row_fills_whole_blocks() {
        // 64 elements in all, but rows of 16: blocks would straddle rows.
        assert_eq!(TensorSpec::new("t", Dtype::Q4_0, [4, 16]).byte_count(), None);
        assert_eq!(TensorSpec::new("t", Dtype::Q4_0, [2, 32]).byte_count(), Some(36));
        assert_eq!(TensorSpec::new("t", Dtype::F32, []).byte_count(), Some(4));
        assert_eq!(TensorSpec::new("t", Dtype::U8, [usize::MAX, 2]).byte_count(), None);
    }

    #[test]
    fn unsupported_types_have_names() {
        assert_eq!(ggml_type_name(12), "Q4_K");
        assert_eq!(ggml_type_name(23), "IQ4_XS");
        assert_eq!(ggml_type_name(9999), "number 9999");
    }
}
