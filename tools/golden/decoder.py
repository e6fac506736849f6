"""Writes tiny random models of each family with what PyTorch and PEFT compute on them: decoder.py FIXTURES_DIR [NAME ...]

Everything runs in f32 on one thread from fixed seeds. README.md names every file and tensor that is written; the tests
of the decoder, its adapters and its generation compare with them.
"""

import json
import os
import shutil
import sys

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

# Configuration, model, and what is set beside the sizes that all of them have.
FAMILIES = {
    "gemma3": (
        Gemma3TextConfig,
        Gemma3ForCausalLM,
        {
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": 12,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
            },
        },
    ),
    "llama": (LlamaConfig, LlamaForCausalLM, {"head_dim": 16}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
    "mistral_window": (MistralConfig, MistralForCausalLM, {"sliding_window": 16}),
    "phi3": (Phi3Config, Phi3ForCausalLM, {"sliding_window": 16}),
    "phi3_long": (
        Phi3Config,
        Phi3ForCausalLM,
        {
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.75,
                "original_max_position_embeddings": 256,
                "short_factor": [1.0, 1.1, 1.25, 1.5, 2.0, 2.5],
                "long_factor": [1.0, 1.5, 3.0, 6.0, 12.0, 24.0],
            },
        },
    ),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 32}),
    "qwen3_window": (
        Qwen3Config,
        Qwen3ForCausalLM,
        {"head_dim": 32, "use_sliding_window": True, "sliding_window": 12, "max_window_layers": 1},
    ),
}
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
FUSED_ATTENTION = ["qkv_proj", "o_proj"]
TRAINED_IDS = [5, 158]
STEPS = 10
LEARNING_RATE = 1e-2
MAX_GRAD_NORM = 1.0
PROMPT_TOKENS = 5
NEW_TOKENS = 20
# A greedy choice closer than this could fall the other way under another order of summation.
LEAST_MARGIN = 0.02


def main(fixtures):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, family, tied, seed in [
        ("tied", "llama", True, 1),
        ("untied", "llama", False, 2),
        ("qwen2_tied", "qwen2", True, 5),
        ("qwen2_untied", "qwen2", False, 1),
        ("qwen3_tied", "qwen3", True, 1),
        ("qwen3_untied", "qwen3", False, 2),
        ("mistral", "mistral", False, 1),
        ("mistral_window", "mistral_window", False, 1),
        ("qwen3_window", "qwen3_window", True, 2),
        ("gemma3", "gemma3", True, 2),
        ("phi3", "phi3", False, 1),
        ("phi3_long", "phi3_long", True, 2),
    ]:
        if is_wanted(name):
            write_trained_case(os.path.join(fixtures, name), family, tied, seed)
    if is_wanted("llama3_rope"):
        write_rope_case(os.path.join(fixtures, "llama3_rope"))
    if is_wanted("gemma3_scaled"):
        write_gemma_case(os.path.join(fixtures, "gemma3_scaled"))


def is_wanted(name):
    return not sys.argv[2:] or name in sys.argv[2:]


def write_trained_case(folder, family, tied, seed):
    """One model with three adapters: on attention, on every linear, and on attention with trained token rows."""
    model = random_model(seed=seed, family=family, tie_word_embeddings=tied)
    prepare(folder)
    save_model(model, folder)
    if not tied:
        rewrite_config(folder, old_style_keys)
    attention = FUSED_ATTENTION if family.startswith("phi3") else ATTENTION
    rows = token_rows(torch.Generator().manual_seed(10), model.config.vocab_size)
    prompt, base_greedy = confident_prompt(model)
    golden = facts() | {"rows": rows, "prompt": prompt, "trained_ids": TRAINED_IDS}
    golden |= {"learning_rate": LEARNING_RATE, "max_grad_norm": MAX_GRAD_NORM, "base": base_greedy, "adapters": {}}
    tensors = logits(model, rows, "base")
    embedding_rows = {"embed_tokens": TRAINED_IDS} if tied else {"embed_tokens": TRAINED_IDS, "lm_head": TRAINED_IDS}
    for seed, name, targets, trained in [
        (20, "attention", attention, None),
        (21, "all_linear", "all-linear", None),
        (22, "rows", attention, embedding_rows),
    ]:
        golden["adapters"][name], more = adapter_case(folder, rows, prompt, seed, name, targets, trained)
        tensors |= more
    write_golden(folder, golden, tensors)


def adapter_case(folder, rows, prompt, seed, name, targets, trained):
    """A random adapter on the model of a folder: saved, and what it gives at first and when it is trained."""
    fresh = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "model"), dtype=torch.float32)
    adapted = get_peft_model(fresh, lora_config(targets, trained))
    randomise(adapted, seed)
    save_adapter(adapted, os.path.join(folder, f"adapter_{name}"))
    tensors = logits(adapted, rows, name)
    greedy = greedy_tokens(adapted, prompt)
    assert greedy["least_margin"] >= LEAST_MARGIN, f"{name} has a close call: choose another seed"
    gradients, loss = backward(adapted, rows)
    tensors |= {f"gradient.{name}.{key}": value for key, value in gradients.items()}
    losses, norms = train(adapted, rows)
    assert losses[0] == loss and losses[-1] < losses[0]
    tensors |= {f"final.{name}.{key}": value for key, value in adapter_parameters(adapted).items()}
    return {"losses": losses, "grad_norms": norms} | greedy, tensors


def write_rope_case(folder):
    """Llama 3's stretched frequencies, heads wider than hidden / heads, one kv head, bf16 shards, older config keys."""
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    model = random_model(
        seed=8,
        tie_word_embeddings=True,
        head_dim=32,
        num_key_value_heads=1,
        rope_parameters=scaling | {"rope_theta": 10000.0},
    )
    prepare(folder)
    save_model(model.to(torch.bfloat16), folder, max_shard_size="80KB")
    rewrite_config(folder, old_style_keys)
    reloaded = AutoModelForCausalLM.from_pretrained(os.path.join(folder, "model"), dtype=torch.float32)
    rows = token_rows(torch.Generator().manual_seed(11), model.config.vocab_size)
    prompt, greedy = confident_prompt(reloaded)
    golden = facts() | {"rows": rows, "prompt": prompt, "base": greedy, "adapters": {}}
    tensors = logits(reloaded, rows, "base")
    unscaled = AutoModelForCausalLM.from_pretrained(
        os.path.join(folder, "model"),
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        dtype=torch.float32,
    )
    assert (logits(unscaled, rows, "base")["logits.base.0"] - tensors["logits.base.0"]).abs().max() > 0.1
    write_golden(folder, golden, tensors)


def write_gemma_case(folder):
    """Gemma 3 with stretched global frequencies, another scale of scores, and the keys of transformers 4."""
    model = random_model(
        seed=3,
        family="gemma3",
        tie_word_embeddings=True,
        num_hidden_layers=3,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        query_pre_attn_scalar=20,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 100000.0},
        },
    )
    prepare(folder)
    save_model(model, folder)
    rewrite_config(folder, old_gemma_keys)
    rows = token_rows(torch.Generator().manual_seed(11), model.config.vocab_size)
    prompt, greedy = confident_prompt(model)
    golden = facts() | {"rows": rows, "prompt": prompt, "base": greedy, "adapters": {}}
    write_golden(folder, golden, logits(model, rows, "base"))


def random_model(seed, family="llama", **settings):
    torch.manual_seed(seed)
    make_config, make_model, of_family = FAMILIES[family]
    config = make_config(
        **{
            "vocab_size": 160,
            "hidden_size": 64,
            "intermediate_size": 112,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "max_position_embeddings": 512,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": None,
        }
        | of_family
        | settings
    )
    model = make_model(config).to(torch.float32)
    # The usual 0.02 would leave logits and attention almost flat, and a norm of ones would hide a missing weight.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(norm_mean(family, name) + 0.2 * torch.randn_like(parameter))
            else:
                wide = "embed_tokens" in name or "lm_head" in name
                # Gemma scales embeddings by 8 here: wider ones would drown the layers, and a tied head repeat its input
                spread = 0.12 if not wide else 0.06 if family == "gemma3" else 0.3
                parameter.copy_(torch.randn_like(parameter) * spread)
    return model.eval()


def norm_mean(family, name):
    """Gemma multiplies by 1 + weight; its last norm makes up for small embeddings, which are its head, too."""
    if family != "gemma3":
        return 1
    return 2 if name == "model.norm.weight" else 0


def token_rows(generator, vocab_size):
    """Two rows; a weight belongs to the token it stands beside, as a target. The trained ids occur in both roles."""
    rows = []
    for length, prompt in [(70, 20), (37, 9)]:
        ids = torch.randint(3, vocab_size, (length,), generator=generator).tolist()
        ids[3], ids[prompt + 4], ids[-2] = TRAINED_IDS[0], TRAINED_IDS[1], TRAINED_IDS[0]
        weights = [0.0] * prompt + [1.0] * (length - prompt)
        rows.append({"ids": ids, "weights": weights})
    for position in (15, 16, 30):
        rows[1]["weights"][position] = 0.5
    rows[1]["weights"][20] = 0.0
    return rows


def lora_config(targets, trained):
    return LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM", trainable_token_indices=trained)


def randomise(adapted, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                spread = 0.3 if "trainable_tokens" in name else 0.05
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)


def row_logits(model, ids):
    return model(input_ids=torch.tensor([ids])).logits[0]


@torch.no_grad()
def logits(model, rows, name):
    return {f"logits.{name}.{i}": row_logits(model, row["ids"]).contiguous() for i, row in enumerate(rows)}


def loss_of(model, rows):
    """The sum of weight × cross-entropy over all rows, divided once by the number of tokens with a weight not zero."""
    total, count = 0.0, 0
    for row in rows:
        ids, weights = torch.tensor(row["ids"]), torch.tensor(row["weights"])
        losses = torch.nn.functional.cross_entropy(row_logits(model, row["ids"])[:-1], ids[1:], reduction="none")
        total = total + (losses * weights[1:]).sum()
        count += int((weights[1:] != 0).sum())
    return total / count


def backward(adapted, rows):
    adapted.zero_grad()
    loss = loss_of(adapted, rows)
    loss.backward()
    return adapter_parameters(adapted, gradient=True), loss.item()


def train(adapted, rows):
    parameters = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(adapted, rows)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def adapter_parameters(adapted, gradient=False):
    """The trained tensors (or their gradients) under the names that PEFT gives them in a file."""
    found = {}
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            name = name.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector")
            found[name] = (parameter.grad if gradient else parameter).detach().clone()
    return found


def confident_prompt(model):
    """The first random prompt whose greedy continuation is nowhere a close call, for the base model."""
    generator = torch.Generator().manual_seed(30)
    for _ in range(200):
        prompt = torch.randint(3, model.config.vocab_size, (PROMPT_TOKENS,), generator=generator).tolist()
        result = greedy_tokens(model, prompt)
        if result["least_margin"] >= LEAST_MARGIN and len(set(result["greedy"])) > 8:
            return prompt, result
    raise SystemExit("no prompt has a confident continuation: choose another seed")


@torch.no_grad()
def greedy_tokens(model, prompt):
    """Without a KV cache or a stop at any token. `least_margin` is best minus second logit at its smallest."""
    ids, margin = list(prompt), float("inf")
    for _ in range(NEW_TOKENS):
        best = row_logits(model, ids)[-1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return {"greedy": ids[len(prompt) :], "least_margin": margin}


def prepare(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)


def save_model(model, folder, **options):
    model.save_pretrained(os.path.join(folder, "model"), **options)


def save_adapter(adapted, folder):
    """As PEFT saves it, less its empty model card; the target names, a set in PEFT, are sorted for good."""
    adapted.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_config.json")
    config = read_json(path)
    if isinstance(config["target_modules"], list):
        config["target_modules"] = sorted(config["target_modules"])
    config["base_model_name_or_path"] = None
    write_json(path, config)
    with safe_open(os.path.join(folder, "adapter_model.safetensors"), "pt") as file:
        assert set(file.keys()) == set(adapter_parameters(adapted))


def old_style_keys(config):
    """config.json as transformers 4 wrote it; both generations are in use."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.46.0"


def old_gemma_keys(config):
    """config.json of a Gemma 3 as transformers 4 wrote it, before `layer_types`."""
    rope = config.pop("rope_parameters")
    config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    config["rope_theta"] = rope["full_attention"].pop("rope_theta")
    config["rope_scaling"] = rope["full_attention"]
    del config["layer_types"], config["_sliding_window_pattern"], config["tie_word_embeddings"]
    config["sliding_window_pattern"] = 3
    config["cache_implementation"] = "hybrid"
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.50.0"


def rewrite_config(folder, change):
    """Changes config.json and makes sure that transformers still reads the same model from it."""
    path = os.path.join(folder, "model", "config.json")
    before = AutoConfig.from_pretrained(os.path.dirname(path))
    config = read_json(path)
    change(config)
    write_json(path, config)
    after = AutoConfig.from_pretrained(os.path.dirname(path))
    for key in ("rope_theta", "rope_type", "factor", "sliding_attention", "full_attention"):
        assert after.rope_parameters.get(key) == before.rope_parameters.get(key), key
    assert getattr(after, "layer_types", None) == getattr(before, "layer_types", None)


def facts():
    return {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    }


def write_golden(folder, golden, tensors):
    write_json(os.path.join(folder, "golden.json"), golden)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, os.path.join(folder, "golden.safetensors")
    )


def read_json(path):
    with open(path) as file:
        return json.load(file)


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
