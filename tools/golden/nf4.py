"""Writes small tensors with what bitsandbytes makes of them in NF4 with double quantisation: nf4.py OUT.txt

A line each: columns, then in hexadecimal the weights (bf16), packed codes, codes of the scales, their factors and offset, and the
decoded values (f32). Needs `bitsandbytes` and `torch`; runs on the processor.
"""

import sys

import torch
from bitsandbytes import functional


def main(path):
    generator = torch.Generator().manual_seed(4)

    def normal(rows, columns):
        return torch.randn(rows, columns, generator=generator)

    ordinary = normal(9, 128) * 0.05
    # more than 256 scales, of very different size
    wide = normal(5, 64 * 53) * torch.exp(normal(5, 1) * 2)
    # a block of zeros, one of equal values, values half-way between levels, outliers
    special = normal(3, 192)
    special[0, :64] = 0
    special[1, 64:128] = 0.25
    levels = functional.get_4bit_type("nf4", device="cpu")
    special[2, :16] = levels
    special[2, 16:31] = (levels[1:] + levels[:-1]) / 2
    special[2, 31:64] = 0
    special[2, 64] = 300
    lines = [case(weights.bfloat16()) for weights in (ordinary, wide, special)]
    with open(path, "w") as file:
        file.write("# Written by tools/golden/nf4.py: see there.\n" + "\n".join(lines) + "\n")


def case(weights):
    packed, state = functional.quantize_4bit(
        weights.float(), blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    decoded = functional.dequantize_4bit(packed, state)
    fields = [
        weights.contiguous().view(torch.int16),
        packed,
        state.absmax,
        state.state2.absmax,
        state.offset.reshape(1),
        decoded.float(),
    ]
    return " ".join([str(weights.shape[1]), *(field.numpy().tobytes().hex() for field in fields)])


if __name__ == "__main__":
    main(sys.argv[1])
