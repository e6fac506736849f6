"""Writes quantised blocks with the values that gguf-py reads from them: quant.py OUT.txt

The blocks are random bytes under sane scales, so that every bit position of every layout matters. See README.md for
the line format. Needs only `gguf` and `numpy`.
"""

import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

BLOCKS = 3
# Where the f16 scales lie inside a block (byte offsets); everything else is free to be random.
SCALE_OFFSETS = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}
# Signed zeros, subnormals, the largest finite values and the infinities of each 16-bit format.
HALF_BITS = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x3555]
BFLOAT_BITS = [0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x3EAB]
# Ties to even both ways, just beside a tie, overflow to infinity, underflow to zero and into the subnormals.
ROUNDING_BITS = [
    0x3F808000, 0x3F818000, 0x3F808001, 0x3F817FFF, 0x3F801000, 0x3F803000, 0x3F801001, 0x3F802FFF,
    0x477FEFFF, 0x477FF000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0x33000000, 0x33000001, 0xB3800001,
    0x387FC000, 0x387FE000, 0x00000001, 0x80000000,
]  # fmt: skip


def main(path):
    generator = np.random.default_rng(20)
    lines = [f"decode {name} {decode_case(generator, name, offsets)}" for name, offsets in SCALE_OFFSETS.items()]
    for name, special in [("F16", HALF_BITS), ("BF16", BFLOAT_BITS)]:
        ordinary = generator.standard_normal(22).astype(np.float32)
        encoded = quants.quantize(ordinary, GGMLQuantizationType[name]).view(np.uint16)
        lines.append(
            f"decode {name} {pair(name, np.concatenate([np.array(special, np.uint16), encoded]).view(np.uint8))}"
        )
    ordinary = generator.standard_normal(20).astype(np.float32)
    values = np.concatenate([np.array(ROUNDING_BITS, np.uint32).view(np.float32), ordinary])
    with np.errstate(over="ignore"):
        for name in ["F32", "F16", "BF16"]:
            encoded = quants.quantize(values, GGMLQuantizationType[name]).view(np.uint8)
            lines.append(f"encode {name} {encoded.tobytes().hex()} {values.tobytes().hex()}")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def decode_case(generator, name, scale_offsets):
    block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    blocks = generator.integers(0, 256, (BLOCKS, block_bytes), dtype=np.uint8)
    for offset in scale_offsets:
        scales = (generator.standard_normal(BLOCKS) * 0.05).astype(np.float16)
        scales[-1] = np.float16(3e-6)  # a subnormal f16
        blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(BLOCKS, 2)
    return pair(name, blocks.reshape(-1))


def pair(name, data):
    values = quants.dequantize(data, GGMLQuantizationType[name])
    assert np.isfinite(values).all() or name in ("F16", "BF16")
    return f"{data.tobytes().hex()} {values.astype('<f4').tobytes().hex()}"


if __name__ == "__main__":
    main(sys.argv[1])
