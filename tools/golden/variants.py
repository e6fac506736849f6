"""Writes what decoder.py's models come to with DoRA and trained biases: variants.py FIXTURES_DIR, after decoder.py

README.md names every file and tensor.
"""

import os
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

import decoder
import gradients

CASES = {
    "qwen2_tied": [
        ("dora", 50, {"target_modules": "all-linear", "use_dora": True}),
        ("bias_all", 51, {"target_modules": ["q_proj", "o_proj"], "bias": "all"}),
        (
            "dora_bias",
            52,
            {
                "target_modules": r"model\.layers\.\d+\.(self_attn\.[qk]_proj|mlp\.down_proj)",
                "use_dora": True,
                "bias": "lora_only",
                "use_rslora": True,
                "rank_pattern": {"q_proj": 3},
                "alpha_pattern": {r".*\.1\.mlp\.down_proj": 20},
            },
        ),
    ],
    "phi3": [
        ("dora", 53, {"target_modules": "all-linear", "use_dora": True}),
        (
            "parts",
            54,
            {
                "target_modules": ["qkv_proj", "gate_up_proj"],
                "rank_pattern": {"qkv_proj": 8},
                "alpha_pattern": {"qkv_proj": 16},
            },
        ),
    ],
}

# The parts of fused linears that the adapter "parts" is for, and of each linear the outputs and the rank of every part.
PARTS = ["q_proj", "v_proj", "up_proj"]
BLOCKS = {"qkv_proj": [(64, 4), (32, 0), (32, 4)], "gate_up_proj": [(112, 0), (112, 4)]}


def main(fixtures):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, cases in CASES.items():
        folder = os.path.join(fixtures, f"variants_{name}")
        model = os.path.join(fixtures, name)
        decoder.prepare(folder)
        of_base = decoder.read_json(os.path.join(model, "golden.json"))
        rows, prompt = of_base["rows"], of_base["prompt"]
        golden = decoder.facts() | {"rows": rows, "prompt": prompt, "adapters": {}}
        golden |= {"learning_rate": decoder.LEARNING_RATE, "max_grad_norm": decoder.MAX_GRAD_NORM}
        tensors = {}
        for adapter, seed, settings in cases:
            golden["adapters"][adapter], more = adapter_case(model, folder, rows, prompt, adapter, seed, settings)
            tensors |= more
        if name == "qwen2_tied":
            golden["dropout"], more = dropout_case(model, folder, rows, "dora_bias")
            tensors |= more
        decoder.write_golden(folder, golden, tensors)


def base_of(model):
    return AutoModelForCausalLM.from_pretrained(os.path.join(model, "model"), dtype=torch.float32)


def adapter_case(model, folder, rows, prompt, name, seed, settings):
    """A random adapter: saved, merged, and what it gives at first and when it is trained."""
    adapted = get_peft_model(base_of(model), LoraConfig(**{"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"} | settings))
    randomise(adapted, seed)
    if name == "parts":
        keep_blocks(adapted)
    path = os.path.join(folder, f"adapter_{name}")
    decoder.save_adapter(adapted, path)
    tensors = decoder.logits(adapted, rows, name)
    again = PeftModel.from_pretrained(base_of(model), path).eval()
    assert (decoder.row_logits(again, rows[0]["ids"]) - tensors[f"logits.{name}.0"]).abs().max() < 1e-6
    merged = decoder.logits(again.merge_and_unload(), rows, name)
    assert (merged[f"logits.{name}.0"] - tensors[f"logits.{name}.0"]).abs().max() < 1e-4
    greedy = decoder.greedy_tokens(adapted, prompt)
    assert greedy["least_margin"] >= decoder.LEAST_MARGIN, f"{name} has a close call: choose another seed"
    found, loss = decoder.backward(adapted, rows)
    tensors |= {f"gradient.{name}.{key}": value for key, value in found.items()}
    losses, norms = decoder.train(adapted, rows)
    assert losses[0] == loss and losses[-1] < losses[0]
    tensors |= {f"final.{name}.{key}": value for key, value in decoder.adapter_parameters(adapted).items()}
    facts = {"parts": PARTS} if name == "parts" else {}
    return facts | {"losses": losses, "grad_norms": norms} | greedy, tensors


def keep_blocks(adapted):
    """B and its gradient are zero but where the outputs of a part meet the rows of A that belong to it."""
    for path, module in adapted.named_modules():
        if hasattr(module, "lora_B"):
            weight = module.lora_B["default"].weight
            blocks = [torch.ones(outputs, rank) for outputs, rank in BLOCKS[path.split(".")[-1]]]
            mask = torch.block_diag(*blocks)
            assert mask.shape == weight.shape
            with torch.no_grad():
                weight.mul_(mask)
            weight.register_hook(lambda gradient, mask=mask: gradient * mask)


def dropout_case(model, folder, rows, name):
    """Gradients with the masks of gradients.py. PEFT then drops from what the frozen weight reads, too, where it is DoRA."""
    path = os.path.join(folder, f"adapter_{name}")
    adapted = PeftModel.from_pretrained(base_of(model), path, is_trainable=True).train()
    loss, found = gradients.with_dropout(adapted, rows)
    facts = {"loss": loss, "probability": gradients.PROBABILITY, "key": str(gradients.STEP_KEY)}
    return facts, {f"dropout.{name}.{key}": value for key, value in found.items()}


@torch.no_grad()
def randomise(adapted, seed):
    """Magnitudes and biases stay near their start; what is left at its start would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            if "magnitude" in name:
                parameter.mul_(1 + 0.2 * noise)
            elif name.endswith(".bias"):
                parameter.add_(0.1 * noise)
            else:
                parameter.copy_(0.05 * noise)


if __name__ == "__main__":
    main(sys.argv[1])
