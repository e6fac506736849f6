//! What a recipe's settings of the device become on this machine: instruction set, precision, how weights are held, and the context with its
//! threads.

use aludel_kernels::linear::{Precision, Quantization};
use aludel_kernels::{Context, Isa, peak};
use aludel_model::decoder::WeightFormat;

use crate::error::{Error, Result};
use crate::settings::{Dtype, InstructionSet, Quantize, StudentSettings};

/// How weights are held, by a recipe's `student.dtype` and `student.quantize`.
pub fn weight_format(dtype: Dtype, quantize: Quantize) -> WeightFormat {
    let precision = match dtype {
        // bf16 halves the memory that weights take, and all of a weight is read for each token that is generated
        Dtype::Auto | Dtype::Bf16 => Precision::Bf16,
        Dtype::F32 => Precision::F32,
        Dtype::File => return WeightFormat::Integers,
    };
    match quantize {
        Quantize::None => WeightFormat::Packed(precision),
        Quantize::Nf4 => WeightFormat::Quantized(Quantization::Nf4, precision),
        Quantize::Int8 => WeightFormat::Quantized(Quantization::Int8, precision),
        Quantize::AsIs => WeightFormat::AsStored(precision),
    }
}

/// What settings and kernels call the same.
const NAMED: [(InstructionSet, Isa); 5] = [
    (InstructionSet::Portable, Isa::Portable),
    (InstructionSet::Avx2, Isa::Avx2),
    (InstructionSet::Avx512, Isa::Avx512),
    (InstructionSet::Avx512Bf16, Isa::Avx512Bf16),
    (InstructionSet::Amx, Isa::Amx),
];

/// The settings with what this machine makes of "auto": the instruction set, and the precision that trains fastest on it. A run
/// records them, so that it goes on as it began.
///
/// # Errors
/// [`Error::InstructionSet`]: the processor lacks what is asked for.
pub fn settled(settings: &StudentSettings) -> Result<StudentSettings> {
    let isa = isa(settings.instruction_set, Isa::supported())?;
    let named = NAMED.iter().find(|(_, named)| *named == isa);
    let instruction_set = named.map_or(settings.instruction_set, |(name, _)| *name);
    let dtype = match settings.dtype {
        Dtype::Auto if peak::favours_bf16(isa) => Dtype::Bf16,
        Dtype::Auto => Dtype::F32,
        given => given,
    };
    Ok(StudentSettings { instruction_set, dtype, ..settings.clone() })
}

/// The instruction set that is meant, of those that are there, the best last.
fn isa(wanted: InstructionSet, has: &[Isa]) -> Result<Isa> {
    let Some((_, wanted)) = NAMED.iter().find(|(name, _)| *name == wanted) else {
        return Ok(has.last().copied().unwrap_or(Isa::Portable)); // "auto"
    };
    match has.contains(wanted) {
        true => Ok(*wanted),
        false => {
            let has: Vec<_> = has.iter().map(|isa| isa.name()).collect();
            Err(Error::InstructionSet { wanted: wanted.name(), has: has.join(", ") })
        }
    }
}

/// A context for the settings' device, threads and instruction set.
///
/// # Errors
/// [`Error::InstructionSet`].
pub fn context(settings: &StudentSettings) -> Result<Context> {
    Ok(Context::cpu(settings.threads).with_isa(isa(settings.instruction_set, Isa::supported())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_set_is_taken_or_refused_and_never_replaced() {
        let has = [Isa::Portable, Isa::Avx2];
        assert_eq!(isa(InstructionSet::Auto, &has).unwrap(), Isa::Avx2);
        assert_eq!(isa(InstructionSet::Portable, &has).unwrap(), Isa::Portable);
        let error = isa(InstructionSet::Amx, &has).unwrap_err().to_string();
        assert!(
            error.contains("\"amx\"") && error.contains("it has portable, avx2") && error.contains("\"auto\""),
            "{error}"
        );
    }

    #[test]
    fn auto_becomes_what_this_machine_has() {
        let settled = settled(&StudentSettings::default()).unwrap();
        assert_ne!(settled.instruction_set, InstructionSet::Auto);
        assert_eq!(settled.dtype == Dtype::Bf16, peak::favours_bf16(Isa::detect()));
        let given = StudentSettings { dtype: Dtype::F32, instruction_set: InstructionSet::Portable, ..settled };
        assert_eq!(super::settled(&given).unwrap(), given);
        let portable = StudentSettings { dtype: Dtype::Auto, ..given.clone() };
        assert_eq!(super::settled(&portable).unwrap(), given, "without bf16 products f32 trains faster");
    }
}
