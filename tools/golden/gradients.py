"""Writes what decoder.py's models come to in other ways of training: gradients.py FIXTURES_DIR, after decoder.py

In bf16, with dropout on, and with heads of another width than hidden / heads. README.md names every file and tensor.
"""

import os
import shutil
import sys

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import decoder

PROBABILITY = 0.25
STEP_KEY = 0x0123456789ABCDEF
# The order in which the modules of a layer are numbered as sites of dropout.
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MASK64 = (1 << 64) - 1


def main(fixtures):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    folder = os.path.join(fixtures, "gradients")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    write_bf16(fixtures, folder)
    write_dropout(fixtures, folder)
    write_head_dim_case(os.path.join(fixtures, "head_dim"))


def adapted_model(fixtures, name, adapter, dtype):
    """A model of decoder.py with its adapter; the adapter is f32, as PEFT keeps it beside a base in bf16."""
    folder = os.path.join(fixtures, name)
    base = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "model"), dtype=dtype)
    path = os.path.join(folder, f"adapter_{adapter}")
    return PeftModel.from_pretrained(base, path, is_trainable=True, autocast_adapter_dtype=True).eval()


def write_bf16(fixtures, folder):
    """Gradients with the base, and all that passes between its modules, in bf16; the loss is of logits made f32."""
    tensors, facts = {}, {}
    for name in ["tied", "qwen3_untied", "gemma3", "phi3", "phi3_long"]:
        rows = decoder.read_json(os.path.join(fixtures, name, "golden.json"))["rows"]
        adapted = adapted_model(fixtures, name, "all_linear", torch.bfloat16)
        row_logits = decoder.row_logits
        decoder.row_logits = lambda model, ids: row_logits(model, ids).float()
        gradients, loss = decoder.backward(adapted, rows)
        decoder.row_logits = row_logits
        tensors |= {f"{name}.{key}": value.float() for key, value in gradients.items()}
        facts[f"{name}.loss"] = repr(loss)
    save(folder, "bf16", tensors, facts)


def write_dropout(fixtures, folder):
    """Gradients in f32 with the masks that aludel_kernels::rng documents, made here a second time."""
    name = "tied"
    rows = decoder.read_json(os.path.join(fixtures, name, "golden.json"))["rows"]
    adapted = adapted_model(fixtures, name, "all_linear", torch.float32)
    loss, gradients = with_dropout(adapted, rows)
    plain = decoder.read_json(os.path.join(fixtures, name, "golden.json"))["adapters"]["all_linear"]["losses"][0]
    assert abs(loss - plain) > 1e-3, "dropout changes nothing"
    facts = {"loss": repr(loss), "probability": repr(PROBABILITY), "key": str(STEP_KEY)}
    save(folder, "dropout", {f"{name}.{key}": value for key, value in gradients.items()}, facts)


def with_dropout(adapted, rows):
    """The loss of some rows and the gradients of an adapter, each row with the masks of its number."""
    example = {"number": 0}
    for path, module in adapted.named_modules():
        if hasattr(module, "lora_dropout"):
            layer = int(path.split(".layers.")[1].split(".")[0])
            site = layer * len(MODULES) + MODULES.index(path.split(".")[-1])
            module.lora_dropout["default"] = CountedDropout(mix(STEP_KEY, site), example)
    total, count = 0.0, 0
    for number, row in enumerate(rows):
        example["number"] = number
        ids, weights = torch.tensor(row["ids"]), torch.tensor(row["weights"])
        logits = decoder.row_logits(adapted, row["ids"])[:-1]
        losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        total = total + (losses * weights[1:]).sum()
        count += int((weights[1:] != 0).sum())
    loss = total / count
    loss.backward()
    return loss.item(), decoder.adapter_parameters(adapted, gradient=True)


class CountedDropout(torch.nn.Module):
    """Inverted dropout of one site; a mask belongs to an example, a position and a feature, and to no place in a batch."""

    def __init__(self, key, example):
        super().__init__()
        self.key = key
        self.example = example

    def forward(self, x):
        of_example = mix(self.key, self.example["number"])
        kept = [[uniform(mix(of_example, t), i) >= PROBABILITY for i in range(x.shape[-1])] for t in range(x.shape[-2])]
        return x * torch.tensor(kept).to(x.dtype) * (1 / (1 - PROBABILITY))


def mix(key, value):
    """One more number mixed into a key: the finaliser of SplitMix64 over key + γ + value · δ, in 64 bits."""
    z = (key + 0x9E3779B97F4A7C15 + value * 0xD1B54A32D192ED03) & MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def uniform(key, index):
    """24 bits, in [0, 1)."""
    return (mix(key, index) >> 40) / (1 << 24)


def write_head_dim_case(folder):
    """Four heads of 24 channels over a hidden size of 48: neither hidden / heads nor a power of two."""
    sizes = {"hidden_size": 48, "intermediate_size": 64, "head_dim": 24}
    model = decoder.random_model(seed=26, tie_word_embeddings=True, **sizes)
    decoder.prepare(folder)
    decoder.save_model(model, folder)
    rows = decoder.token_rows(torch.Generator().manual_seed(10), model.config.vocab_size)
    prompt, base_greedy = decoder.confident_prompt(model)
    golden = decoder.facts() | {"rows": rows, "prompt": prompt, "base": base_greedy, "adapters": {}}
    golden |= {"learning_rate": decoder.LEARNING_RATE, "max_grad_norm": decoder.MAX_GRAD_NORM}
    tensors = decoder.logits(model, rows, "base")
    for seed, name, targets in [(41, "all_linear", "all-linear")]:
        golden["adapters"][name], more = decoder.adapter_case(folder, rows, prompt, seed, name, targets, None)
        tensors |= more
    decoder.write_golden(folder, golden, tensors)


def save(folder, name, tensors, facts):
    facts |= {key: str(value) for key, value in decoder.facts()["versions"].items()}
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    save_file(tensors, os.path.join(folder, f"{name}.safetensors"), metadata=facts)


if __name__ == "__main__":
    main(sys.argv[1])
