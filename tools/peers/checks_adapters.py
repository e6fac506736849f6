"""Adapters of every kind between PEFT and Aludel, both ways, on a tiny random model of each family (the fixtures of aludel-model)."""

import json
import os
import shutil

import torch
import torch_side
from checks_files import loading_rows
from checks_numbers import largest
from peft import LoraConfig, get_peft_model
from table import at_most, holds
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM
from world import plain_settings

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIXTURES = os.path.join(REPOSITORY, "crates", "aludel-model", "tests", "fixtures")
# Family: fixture, linears with an adapter, the first of which has other ranks.
FAMILIES = {
    "Llama": ("tied", ["q_proj", "v_proj", "down_proj"]),
    "Qwen2": ("qwen2_tied", ["q_proj", "v_proj", "down_proj"]),
    "Qwen3": ("qwen3_tied", ["q_proj", "v_proj", "down_proj"]),
    "Mistral": ("mistral_window", ["q_proj", "v_proj", "down_proj"]),
    "Gemma 3": ("gemma3", ["q_proj", "v_proj", "down_proj"]),
    "Phi-3": ("phi3", ["qkv_proj", "gate_up_proj", "down_proj"]),
}
SETTINGS = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0}
BAR = 2e-3
# Closer to the base than this, and the adapter would prove nothing.
LEAST_CHANGE = 1e-2


def kinds(linears, has_biases):
    """Kind: settings in PEFT's names."""
    first, *_, last = linears
    listed = {"target_modules": linears}
    found = {
        "LoRA": listed,
        "rsLoRA": listed | {"use_rslora": True},
        "DoRA": listed | {"use_dora": True},
        "patterns": {
            "target_modules": rf"model\.layers\.\d+\.\w+\.({'|'.join(linears)})",
            "rank_pattern": {first: 2},
            "alpha_pattern": {rf".*\.1\.mlp\.{last}": 20},
        },
        "layers": listed | {"layers_to_transform": [1], "layers_pattern": "layers"},
    }
    if has_biases:
        found |= {
            "bias all": {"target_modules": [first], "bias": "all"},
            "bias lora_only, DoRA": listed | {"bias": "lora_only", "use_dora": True, "use_rslora": True},
        }
    return found


def adapter_kinds(world):
    rows = []
    for family, (fixture, linears) in FAMILIES.items():
        student = student_folder(world, fixture)
        base = torch_side.load(student)
        has_biases = any(name.endswith(".bias") for name, _ in base.named_parameters())
        ids = list(range(3, 100, 2))
        plain = torch_side.logits(base, ids)
        for kind, settings in kinds(linears, has_biases).items():
            for row in [
                *from_peft(world, student, settings, ids, plain),
                *to_peft(world, student, settings, ids, plain),
            ]:
                row.name = f"{family}, {kind}: {row.name}"
                rows.append(row)
        if family == "Phi-3":
            # names that PEFT does not know, of parts of the fused linears
            for row in to_peft(world, student, {"target_modules": ["q_proj", "v_proj", "up_proj"]}, ids, plain):
                row.name = f"{family}, parts: {row.name}"
                rows.append(row)
    return rows


def merged_in_shards(world):
    """A merged folder of several weight files, read by transformers."""
    student = student_folder(world, "qwen2_tied", "sharded")
    ids = list(range(3, 100, 2))
    adapted = get_peft_model(torch_side.load(student), LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", **SETTINGS)).eval()
    randomise(adapted)
    folder = world.aludel.fresh_path("-peft")
    adapted.save_pretrained(folder)
    merged = world.aludel.merge(student, folder, "--max-shard-size", "60KB")
    shards = sorted(name for name in os.listdir(merged) if name.endswith(".safetensors"))
    _, loading = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32, output_loading_info=True)
    left = {key: sorted(names) for key, names in loading.items() if names}
    theirs = torch_side.logits(adapted, ids)
    return [
        *changes(theirs, torch_side.logits(torch_side.load(student), ids)),
        holds("weight files", len(shards), len(shards) > 2, "> 2"),
        holds("tensors that are missing, left over or of another shape", json.dumps(left)[:200], not left, "{}"),
        at_most("merged by us, transformers' logits", largest(torch_side.logits(torch_side.load(merged), ids), theirs), BAR),
    ]


def from_peft(world, student, settings, ids, plain):
    """An adapter that PEFT made, and merged."""
    adapted = get_peft_model(torch_side.load(student), LoraConfig(task_type="CAUSAL_LM", **(SETTINGS | settings))).eval()
    randomise(adapted)
    folder = world.aludel.fresh_path("-peft")
    adapted.save_pretrained(folder)
    theirs = torch_side.logits(adapted, ids)
    merged = world.aludel.merge(student, folder)
    return [
        *changes(theirs, plain),
        at_most("PEFT's adapter, our logits", largest(world.aludel.logits(student, ids, folder), theirs), BAR),
        at_most("PEFT's adapter, merged by us", largest(torch_side.logits(torch_side.load(merged), ids), theirs), BAR),
    ]


def to_peft(world, student, settings, ids, plain):
    """An adapter that Aludel trained."""
    names = {"lora_alpha": "alpha", "lora_dropout": "dropout"}
    lora = {f"lora.{names.get(key, key)}": value for key, value in (SETTINGS | settings).items()}
    steps = {"train.max_steps": 12, "train.learning_rate": 0.02, "train.max_length": 256}
    steps |= {"train.per_device_train_batch_size": 4, "train.gradient_accumulation_steps": 1}
    data = world.path("scratch", "sums.jsonl")
    with open(data, "w") as file:
        for number in range(24):
            file.write(json.dumps({"prompt": f"{number}+1?", "response": f"It is {number + 1}."}) + "\n")
    folder, _ = world.aludel.train(student, data, plain_settings("f32") | lora | steps)
    adapted, warnings, unplaced = torch_side.with_adapter_watched(torch_side.load(student), folder)
    theirs = torch_side.logits(adapted, ids)
    return [
        *changes(theirs, plain),
        *(row for row in loading_rows(warnings, unplaced) if not row.passed),
        at_most("our adapter, PEFT's logits", largest(world.aludel.logits(student, ids, folder), theirs), BAR),
    ]


def changes(adapted, plain):
    """Nothing, unless the adapter changes so little that agreement would prove nothing."""
    change = largest(adapted, plain)
    return [] if change > LEAST_CHANGE else [holds("the adapter changes the logits", f"{change:.2g}", False, f"> {LEAST_CHANGE}")]


@torch.no_grad()
def randomise(adapted):
    generator = torch.Generator().manual_seed(5)
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_A" in name or "lora_B" in name:
                parameter.copy_(0.05 * noise)
            else:
                parameter.mul_(1 + 0.2 * noise).add_(0.05 * noise)


def student_folder(world, fixture, name=None):
    """The model of a fixture with a tokenizer of the visible letters of ASCII, and a template."""
    folder = world.path("scratch", name or fixture)
    shutil.copytree(os.path.join(FIXTURES, fixture, "model"), folder)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)] + ["Ġ", "Ċ"]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate([*special, *letters])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    turn = "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    template = "{% for message in messages %}" + turn + "{% endfor %}"
    template += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    named = {"bos_token": special[1], "eos_token": special[2], "pad_token": special[3], "chat_template": template}
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast"} | named, file)
    return folder
