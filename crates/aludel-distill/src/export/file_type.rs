//! The types that a GGUF file can be made of, and which tensor gets which of them: llama.cpp's rules, so that a file of a type is the same
//! mixture wherever it was made.

use aludel_formats::Dtype;
use aludel_model::layout::Role;
use aludel_model::module::Module;

/// What most tensors of a file are stored as, under the names that llama.cpp prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "these are the names that every GGUF tool prints")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum FileType {
    F32,
    F16,
    BF16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q5_1,
    Q5_0,
    Q4_K_M,
    Q4_1,
    Q4_0,
}

impl FileType {
    /// All, the most exact first.
    pub const ALL: [FileType; 11] = [
        FileType::F32,
        FileType::F16,
        FileType::BF16,
        FileType::Q8_0,
        FileType::Q6_K,
        FileType::Q5_K_M,
        FileType::Q5_1,
        FileType::Q5_0,
        FileType::Q4_K_M,
        FileType::Q4_1,
        FileType::Q4_0,
    ];

    /// The name, `Q4_K_M`, which file names end with.
    pub fn name(self) -> &'static str {
        match self {
            FileType::F32 => "F32",
            FileType::F16 => "F16",
            FileType::BF16 => "BF16",
            FileType::Q8_0 => "Q8_0",
            FileType::Q6_K => "Q6_K",
            FileType::Q5_K_M => "Q5_K_M",
            FileType::Q5_1 => "Q5_1",
            FileType::Q5_0 => "Q5_0",
            FileType::Q4_K_M => "Q4_K_M",
            FileType::Q4_1 => "Q4_1",
            FileType::Q4_0 => "Q4_0",
        }
    }

    /// The number of `general.file_type`.
    pub fn number(self) -> u32 {
        match self {
            FileType::F32 => 0,
            FileType::F16 => 1,
            FileType::Q4_0 => 2,
            FileType::Q4_1 => 3,
            FileType::Q8_0 => 7,
            FileType::Q5_0 => 8,
            FileType::Q5_1 => 9,
            FileType::Q4_K_M => 15,
            FileType::Q5_K_M => 17,
            FileType::Q6_K => 18,
            FileType::BF16 => 32,
        }
    }

    /// Whether weights lose more than the last bits of a float.
    pub fn is_quantised(self) -> bool {
        self.most().is_quantised()
    }

    /// The type of most matrices.
    fn most(self) -> Dtype {
        match self {
            FileType::F32 => Dtype::F32,
            FileType::F16 => Dtype::F16,
            FileType::BF16 => Dtype::BF16,
            FileType::Q8_0 => Dtype::Q8_0,
            FileType::Q6_K => Dtype::Q6_K,
            FileType::Q5_K_M => Dtype::Q5_K,
            FileType::Q5_1 => Dtype::Q5_1,
            FileType::Q5_0 => Dtype::Q5_0,
            FileType::Q4_K_M => Dtype::Q4_K,
            FileType::Q4_1 => Dtype::Q4_1,
            FileType::Q4_0 => Dtype::Q4_0,
        }
    }

    /// The largest mean KL per token, in nats, from the source to a file of this type that the gate lets pass. What a type costs depends
    /// on the model, small ones suffering most, so the bounds find mistakes (rows out of order, a lost tensor) and not poor types.
    pub fn kl_bound(self) -> f64 {
        match self {
            FileType::F32 => 1e-5,
            FileType::F16 => 1e-3,
            FileType::BF16 => 5e-3,
            FileType::Q8_0 => 0.02,
            FileType::Q6_K => 0.05,
            FileType::Q5_K_M | FileType::Q5_1 | FileType::Q5_0 => 0.3,
            FileType::Q4_K_M | FileType::Q4_1 | FileType::Q4_0 => 0.8,
        }
    }
}

/// What decides about a tensor beside its role.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    /// Outermost first.
    pub(super) extents: &'a [usize],
    /// Layers of the model.
    pub(super) layers: usize,
    /// Whether the head is the embedding.
    pub(super) is_tied: bool,
}

/// The type of a tensor, and the one that it would have if its rows filled whole blocks, where those differ.
pub(super) fn tensor_type(file_type: FileType, role: Role, shape: Shape<'_>) -> (Dtype, Option<Dtype>) {
    let &[.., _, columns] = shape.extents else { return (Dtype::F32, None) };
    if role.is_norm() {
        return (Dtype::F32, None);
    }
    let wanted = wanted_type(file_type, role, shape);
    let fits = |dtype: Dtype| columns.is_multiple_of(dtype.block_len());
    let mut dtype = wanted;
    while !fits(dtype) {
        dtype = instead_of(dtype);
    }
    (dtype, (dtype != wanted).then_some(wanted))
}

/// What takes the place of a type whose blocks a tensor's rows do not fill.
fn instead_of(dtype: Dtype) -> Dtype {
    match dtype {
        Dtype::Q4_K => Dtype::Q5_0,
        Dtype::Q5_K => Dtype::Q5_1,
        Dtype::Q6_K => Dtype::Q8_0,
        _ => Dtype::F16,
    }
}

fn wanted_type(file_type: FileType, role: Role, shape: Shape<'_>) -> Dtype {
    let most = file_type.most();
    if !most.is_quantised() {
        return most;
    }
    let is_mixture = matches!(file_type, FileType::Q4_K_M | FileType::Q5_K_M);
    match role {
        Role::Head => head_type(most, shape.extents),
        Role::Embedding if shape.is_tied => head_type(most, shape.extents),
        Role::Weight(layer, Module::VProj | Module::DownProj) if is_mixture && has_more_bits(layer, shape.layers) => {
            Dtype::Q6_K
        }
        // so large a model shares its values among many heads
        Role::Weight(_, Module::VProj) if file_type == FileType::Q4_K_M && shape.layers == 80 => Dtype::Q5_K,
        Role::Weight(_, Module::QkvProj) if file_type == FileType::Q4_K_M => Dtype::Q5_K,
        Role::Weight(_, Module::QkvProj) if file_type == FileType::Q5_K_M => Dtype::Q6_K,
        _ => most,
    }
}

/// Logits are the most sensitive to rounding.
fn head_type(most: Dtype, extents: &[usize]) -> Dtype {
    let columns = extents.last().copied().unwrap_or(1);
    let fills = columns.is_multiple_of(most.block_len());
    if most == Dtype::Q8_0 || !fills { Dtype::Q8_0 } else { Dtype::Q6_K }
}

/// The first and the last eighth of the layers, and each third one between.
fn has_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_of(file_type: FileType, role: Role, extents: &[usize]) -> (Dtype, Option<Dtype>) {
        tensor_type(file_type, role, Shape { extents, layers: 16, is_tied: true })
    }

    /// llama-quantize's choices for a model of sixteen layers.
    #[test]
    fn the_mixture_gives_more_bits_to_some_layers() {
        let of = |layer| type_of(FileType::Q4_K_M, Role::Weight(layer, Module::DownProj), &[512, 256]).0;
        let more: Vec<usize> = (0..16).filter(|&layer| of(layer) == Dtype::Q6_K).collect();
        assert_eq!(more, [0, 1, 4, 7, 10, 13, 14, 15]);
        let of = |layer| type_of(FileType::Q4_K_M, Role::Weight(layer, Module::VProj), &[512, 256]).0;
        assert_eq!((of(0), of(2)), (Dtype::Q6_K, Dtype::Q4_K));
        let of = |file_type, module| type_of(file_type, Role::Weight(2, module), &[512, 256]).0;
        assert_eq!(of(FileType::Q4_K_M, Module::QkvProj), Dtype::Q5_K);
        assert_eq!(of(FileType::Q5_K_M, Module::QkvProj), Dtype::Q6_K);
        assert_eq!(of(FileType::Q6_K, Module::DownProj), Dtype::Q6_K);
        assert_eq!(of(FileType::Q4_0, Module::DownProj), Dtype::Q4_0);
    }

    #[test]
    fn heads_get_more_bits_and_vectors_stay_f32() {
        assert_eq!(type_of(FileType::Q4_K_M, Role::Embedding, &[100, 256]), (Dtype::Q6_K, None));
        assert_eq!(type_of(FileType::Q4_0, Role::Embedding, &[100, 256]), (Dtype::Q6_K, None));
        assert_eq!(type_of(FileType::Q8_0, Role::Head, &[100, 256]), (Dtype::Q8_0, None));
        let untied = Shape { extents: &[100, 256], layers: 16, is_tied: false };
        assert_eq!(tensor_type(FileType::Q4_K_M, Role::Embedding, untied).0, Dtype::Q4_K);
        assert_eq!(tensor_type(FileType::Q4_K_M, Role::Head, untied).0, Dtype::Q6_K);
        for file_type in FileType::ALL {
            assert_eq!(type_of(file_type, Role::InputNorm(0), &[256]), (Dtype::F32, None));
            assert_eq!(type_of(file_type, Role::Bias(0, Module::QProj), &[256]), (Dtype::F32, None));
        }
    }

    #[test]
    fn what_a_width_forbids_falls_back() {
        let of = |file_type, columns| type_of(file_type, Role::Weight(2, Module::QProj), &[512, columns]);
        assert_eq!(of(FileType::Q4_K_M, 576), (Dtype::Q5_0, Some(Dtype::Q4_K)));
        assert_eq!(of(FileType::Q5_K_M, 576), (Dtype::Q5_1, Some(Dtype::Q5_K)));
        assert_eq!(of(FileType::Q6_K, 576), (Dtype::Q8_0, Some(Dtype::Q6_K)));
        assert_eq!(of(FileType::Q8_0, 40), (Dtype::F16, Some(Dtype::Q8_0)));
        assert_eq!(of(FileType::Q4_K_M, 40), (Dtype::F16, Some(Dtype::Q4_K)));
        assert_eq!(of(FileType::BF16, 40), (Dtype::BF16, None));
        assert_eq!(type_of(FileType::Q4_0, Role::Embedding, &[100, 576]), (Dtype::Q8_0, Some(Dtype::Q6_K)));
    }
}
