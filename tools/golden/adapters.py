"""Writes which modules, ranks and alphas PEFT takes from an adapter_config.json, and logits with such an adapter: adapters.py FIXTURES_DIR

FIXTURES_DIR/tied/model must be there (decoder.py wrote it). README.md names every file that is written; the tests of
aludel-formats and aludel-model compare with them.
"""

import json
import os
import shutil
import sys
import warnings

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

LAYERS = 12
# alpha_pattern and rank_pattern go through one rule, and so do these cases.
PATTERNS = [
    {r".*\.layers\.3\..*(q_proj|k_proj|v_proj|o_proj)$": 3},
    {"model.layers.0.self_attn.q_proj": 3},
    {"layers.1.self_attn.q_proj": 3, "self_attn.q_proj": 5},
    {"proj": 3},
    {"q_proj|v_proj": 3},
    {"q_proj": 3, r".*\.q_proj": 5, r"layers\.2\..*": 7},
    {r"layers\.2\..*": 7, "q_proj": 3},
    {"q_proj)|(v_proj": 3},
    {r"self_attn\.(?!k)\w_proj": 3, "mlp.*": 5},
    {r"(?:model\.)?layers\.(?P<n>1|10)\..*": 3},
    {"self.attn.[kv]_proj": 3, "(down|up)_proj": 5},
    {"^q_proj": 3, r"^model\.layers\.4\..*": 5, r"\.q_proj": 7, "q_proj$": 9},
    {"": 3, "gate_proj|": 5},
    {r"layers\.\d{2}\.mlp\.gate_proj": 3, r"layers\.\d+\.mlp\.gate_proj": 5},
    {"Q_PROJ": 3, "k_pro": 5, "_proj": 7, ".*": 9},
]
TARGETS = [
    {"target_modules": ["q_proj", "v_proj"]},
    {"target_modules": ["model.layers.3.self_attn.q_proj", "1.mlp.up_proj", "proj"]},
    {"target_modules": "all-linear"},
    {"target_modules": "All-Linear", "exclude_modules": ["down_proj", "layers.2.self_attn.q_proj"]},
    {"target_modules": r".*\.(q|k)_proj"},
    {"target_modules": r".*\.layers\.[0-3]\.self_attn\.(?!o)\w_proj", "exclude_modules": r".*\.2\..*k_proj"},
    {"target_modules": r"model\.layers\.1.*_proj"},
    {"target_modules": ["q_proj", "model.layers.7.mlp.up_proj"], "layers_to_transform": [1, 11]},
    {"target_modules": ["q_proj"], "layers_to_transform": 2},
    {"target_modules": ["q_proj"], "layers_to_transform": []},
    {"target_modules": ["q_proj"], "layers_to_transform": [0, 10], "layers_pattern": "layers"},
    {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": ["blocks", "lay.*s"]},
    {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["model.layers.0.self_attn.q_proj"]},
    {"target_modules": ["q_proj"], "exclude_modules": "q_proj"},
    {"target_modules": None},
]


def main(fixtures):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    folder = os.path.join(fixtures, "adapters")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    rules = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        "layers": LAYERS,
        "patterns": [{"patterns": list(map(list, case.items())), "modules": pattern_case(case)} for case in PATTERNS],
        "targets": [{"config": case, "modules": target_case(case)} for case in TARGETS],
    }
    with open(os.path.join(folder, "rules.json"), "w") as file:
        json.dump(rules, file, indent=1)
        file.write("\n")
    write_adapter(os.path.join(fixtures, "tied", "model"), folder)


def small_model():
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=8,
        intermediate_size=12,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return LlamaForCausalLM(config)


def adapted(**config):
    return get_peft_model(small_model(), LoraConfig(task_type="CAUSAL_LM", **config))


def lora_layers(model):
    """Each module with an adapter, under its path in the base model."""
    for path, module in model.base_model.model.named_modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            yield path, module


def by_name(pairs):
    """{"q_proj": {"3": [layers]}} from (path, value): short, and every module is in it."""
    found = {}
    for path, value in pairs:
        *_, layer, _, name = path.split(".")
        found.setdefault(name, {}).setdefault(str(value), []).append(int(layer))
    return found


def pattern_case(patterns):
    """The value each module gets, as rank and, in a second model, as alpha; "8" where no pattern matches."""
    model = adapted(r=8, target_modules="all-linear", rank_pattern=dict(patterns))
    ranks = by_name((path, module.r["default"]) for path, module in lora_layers(model))
    model = adapted(lora_alpha=8, target_modules="all-linear", alpha_pattern=dict(patterns))
    assert ranks == by_name((path, module.lora_alpha["default"]) for path, module in lora_layers(model))
    return ranks


def target_case(config):
    return by_name((path, True) for path, _ in lora_layers(adapted(**config)))


def write_adapter(base, folder):
    """An adapter with both patterns, whose order counts, and the tensor names of a bare state; PEFT's logits with it."""
    torch.manual_seed(40)
    fresh = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        task_type="CAUSAL_LM",
        target_modules=["q_proj", "v_proj", "o_proj", "up_proj"],
        rank_pattern={r"layers\.1\..*": 2, "q_proj": 3},
        alpha_pattern={"v_proj|o_proj": 20, r"model\.layers\.0\.self_attn\.\w+": 1.5},
        fan_in_fan_out=True,
        bias="all",
    )
    model = get_peft_model(fresh, config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape) * 0.2)
    target = os.path.join(folder, "patterns")
    model.save_pretrained(target)
    os.remove(os.path.join(target, "README.md"))
    path = os.path.join(target, "adapter_config.json")
    with open(path) as file:
        written = json.load(file)
    written |= {
        "target_modules": sorted(written["target_modules"]),
        "base_model_name_or_path": None,
        # PEFT sorts them when it writes, and reads them in the file's order
        "rank_pattern": dict(config.rank_pattern),
        "alpha_pattern": dict(config.alpha_pattern),
        # as PEFT's configs of LoRA's first years, and of other writers, have it
        "fan_in_fan_out": True,
    }
    with open(path, "w") as file:
        json.dump(written, file, indent=1)
        file.write("\n")
    weights = os.path.join(target, "adapter_model.safetensors")
    state = load_file(weights)
    bare = {name.replace(".weight", ".default.weight"): tensor for name, tensor in state.items()}
    assert all(name.endswith((".lora_A.default.weight", ".lora_B.default.weight")) for name in bare)
    save_file(bare, weights, metadata={"format": "pt"})
    fresh = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    again = PeftModel.from_pretrained(fresh, target).eval()
    ids = torch.randint(3, 160, (24,), generator=torch.Generator().manual_seed(41))
    with torch.no_grad():
        logits = again(input_ids=ids[None]).logits[0]
        merged = again.merge_and_unload()(input_ids=ids[None]).logits[0]
    assert (logits - merged).abs().max() < 1e-4
    save_file({"ids": ids.to(torch.int32), "logits": logits.contiguous()}, os.path.join(folder, "logits.safetensors"))


if __name__ == "__main__":
    main(sys.argv[1])
