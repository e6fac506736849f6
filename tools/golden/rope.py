"""Writes what PyTorch computes on the model of llama3_rope/ under other rotary frequencies: rope.py FIXTURES_DIR

Divisors are what llama.cpp's converter stores as `rope_freqs.weight`, and ggml divides each inverse frequency by. README.md
names every tensor that is written.
"""

import math
import os
import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from decoder import prepare, read_json, row_logits

LINEAR_FACTOR = 2.5


def main(fixtures):
    source = os.path.join(fixtures, "llama3_rope")
    golden = read_json(os.path.join(source, "golden.json"))
    ids = golden["rows"][1]["ids"]
    model_folder = os.path.join(source, "model")

    def logits(rope, divisors=None):
        model = LlamaForCausalLM.from_pretrained(model_folder, rope_parameters=dict(rope), dtype=torch.float32)
        if divisors is not None:
            rotary = model.model.rotary_emb
            rotary.inv_freq /= divisors
        with torch.no_grad():
            return row_logits(model.eval(), ids).contiguous()

    scaling = read_json(os.path.join(model_folder, "config.json"))["rope_scaling"]
    theta = {"rope_theta": 10000.0}
    plain = {"rope_type": "default"} | theta
    linear = {"rope_type": "linear", "factor": LINEAR_FACTOR} | theta
    llama3 = torch.tensor(converter_divisors(10000.0, 32, scaling), dtype=torch.float32)
    other = 1 + 5 * torch.rand(16, generator=torch.Generator().manual_seed(12))
    tensors = {
        "divisors.llama3": llama3,
        "divisors.other": other,
        "logits.plain": logits(plain),
        "logits.linear": logits(linear),
        "logits.other": logits(plain, other),
        "logits.other_linear": logits(linear, other),
    }
    wanted = load_file(os.path.join(source, "golden.safetensors"))["logits.base.1"]
    assert (logits(plain, llama3) - wanted).abs().max() < 1e-5, "the divisors are not those of the config"
    names = [name for name in tensors if name.startswith("logits.")]
    for i, name in enumerate(names):
        for before in names[:i]:
            assert (tensors[name] - tensors[before]).abs().max() > 0.1, (name, before)
    folder = os.path.join(fixtures, "rope")
    prepare(folder)
    save_file(tensors, os.path.join(folder, "golden.safetensors"))


def converter_divisors(theta, head_dim, scaling):
    """Llama 3.1's rule, as a quotient of the plain frequency and the changed one."""
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    positions = scaling["original_max_position_embeddings"]
    divisors = []
    for frequency in 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim):
        wavelength = 2 * math.pi / frequency.item()
        if wavelength < positions / high:
            divisors.append(1.0)
        elif wavelength > positions / low:
            divisors.append(factor)
        else:
            smooth = (positions / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return divisors


if __name__ == "__main__":
    main(sys.argv[1])
