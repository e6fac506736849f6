"""What transformers and PEFT say: folders for them, their logits, gradients and training steps. Rows are run one by
one, so that no padding, no mask and no trainer's own scaling can be the cause of a difference.
"""

import logging
import os
import warnings

import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]


def dequantise(gguf, folder):
    """Writes the GGUF student as an f32 folder, unless it is there."""
    if os.path.exists(os.path.join(folder, "model.safetensors")):
        return
    parent, name = os.path.split(os.path.abspath(gguf))
    model = AutoModelForCausalLM.from_pretrained(parent, gguf_file=name, dtype=torch.float32)
    # Its weights are plain f32 by now, and the marks of a quantised model would forbid saving them.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    AutoTokenizer.from_pretrained(parent, gguf_file=name).save_pretrained(folder)
    model.save_pretrained(folder)


def extend(source, folder, new_tokens, tied):
    """Writes `source` with new tokens; when not tied, with a head unlike the embedding. Returns the new ids."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    tokenizer.add_tokens(new_tokens)
    ids = tokenizer.convert_tokens_to_ids(new_tokens)
    if os.path.exists(os.path.join(folder, "model.safetensors")):
        return ids
    model = load(source)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        embedding = model.get_input_embeddings().weight
        spread = embedding[:1000].std()
        embedding[ids] = torch.randn(len(ids), embedding.shape[1], generator=generator) * spread
        if not tied:
            model.config.tie_word_embeddings = False
            head = embedding + torch.randn(embedding.shape, generator=generator) * spread * 0.1
            model.lm_head.weight = torch.nn.Parameter(head)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return ids


def load(folder, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()


@torch.no_grad()
def quantise_nf4(model):
    """Gives each linear of the layers the values that bitsandbytes' NF4 holds of its weight, with double quantisation.

    bitsandbytes quantises the weights and decodes them. Their scales are quantised here, to the nearest level, as its kernels for GPUs
    and its plain kernel do: the one for processors takes another level for about two scales in a thousand.
    """
    from bitsandbytes import functional

    levels = functional.create_dynamic_map(signed=True)
    bounds = (levels[:-1] + levels[1:]) / 2
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and name != "lm_head":
            packed, state = functional.quantize_4bit(module.weight.data, blocksize=64, quant_type="nf4")
            offset = state.absmax.double().mean().float()
            centred = torch.nn.functional.pad(state.absmax - offset, (0, -len(state.absmax) % 256)).reshape(-1, 256)
            factors = centred.abs().amax(dim=1, keepdim=True)
            codes = torch.bucketize((centred * (1 / factors.clamp(min=1e-38))).clamp(-1, 1), bounds)
            state.absmax = (levels[codes] * factors).flatten()[: len(state.absmax)] + offset
            module.weight.data = functional.dequantize_4bit(packed, state).reshape(module.weight.shape)


def write_adapter(base, folder, seed, trained_ids=None, head_too=False, **settings):
    """An adapter folder of PEFT's own: r = 8 on q, k, v, o, B ~ N(0, 0.01), and trained rows and magnitudes moved a little."""
    torch.manual_seed(seed)
    trained = None
    if trained_ids:
        trained = {"embed_tokens": trained_ids} | ({"lm_head": trained_ids} if head_too else {})
    config = LoraConfig(
        **{"r": 8, "lora_alpha": 16, "target_modules": ATTENTION, "task_type": "CAUSAL_LM"} | settings,
        trainable_token_indices=trained,
    )
    adapted = get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01)
            elif "trainable_tokens_delta" in name:
                parameter.add_(torch.randn_like(parameter) * 0.02)
            elif "lora_magnitude_vector" in name:
                parameter.mul_(1 + torch.randn_like(parameter) * 0.05)
    adapted.save_pretrained(folder, save_embedding_layers=False)


def with_adapter(base, adapter, trainable=False):
    return PeftModel.from_pretrained(base, adapter, is_trainable=trainable).train(trainable)


def with_adapter_by_its_base(adapter, cache):
    """The adapter on the base that it names itself, looked up in a cache of the Hub's."""
    return AutoPeftModelForCausalLM.from_pretrained(
        adapter, cache_dir=cache, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()


def with_adapter_watched(base, adapter):
    """The adapted model, every warning that loading gave, and the file's tensors that the model has no place for."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    loggers = [logging.getLogger(name) for name in ("peft", "transformers")]
    for logger in loggers:
        logger.addHandler(handler)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapted = with_adapter(base, adapter)
    for logger in loggers:
        logger.removeHandler(handler)
    messages += [str(one.message) for one in caught if not issubclass(one.category, FutureWarning)]
    with safe_open(os.path.join(adapter, "adapter_model.safetensors"), "pt") as file:
        unplaced = set(file.keys()) ^ set(adapter_tensors(adapted))
    return adapted, messages, unplaced


def adapter_tensors(adapted):
    """The adapter's parameters under the names that PEFT gives them in a file."""
    marks = ("lora_A", "lora_B", "lora_magnitude_vector", "trainable_tokens_delta")
    bias = adapted.peft_config["default"].bias
    named = {
        name: one
        for name, one in adapted.named_parameters()
        if any(mark in name for mark in marks)
        or (bias == "all" and name.endswith(".bias"))
        or (bias == "lora_only" and name.endswith(".base_layer.bias"))
    }
    return {
        name.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector"): one
        for name, one in named.items()
    }


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=torch.tensor([ids])).logits[0].float()


def mean_kl(reference, other):
    """Mean over the tokens of KL(reference ‖ other), in nats; computed in f64 and in slices, for memory."""
    total = 0.0
    for start in range(0, len(reference), 64):
        p = reference[start : start + 64].double().log_softmax(-1)
        q = other[start : start + 64].double().log_softmax(-1)
        total += (p.exp() * (p - q)).sum().item()
    return total / len(reference)


def gradients(adapted, ids):
    """Gradients of the mean cross-entropy over all tokens but the first, by PEFT's names, and that loss."""
    adapted.zero_grad()
    found = adapted(input_ids=torch.tensor([ids])).logits[0, :-1].float()
    loss = torch.nn.functional.cross_entropy(found, torch.tensor(ids[1:]))
    loss.backward()
    return {name: one.grad.float() for name, one in adapter_tensors(adapted).items()}, loss.item()


def training_losses(adapted, steps, learning_rate, max_grad_norm):
    """Loss before each optimiser step. A step is a list of rows, a row is (ids, supervised); the sum of the losses is
    divided once by the step's supervised tokens.
    """
    trained = [one for one in adapted.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses = []
    for rows in steps:
        count = sum(sum(supervised[1:]) for _, supervised in rows)
        total = 0.0
        for ids, supervised in rows:
            targets = torch.tensor(ids[1:]).masked_fill(~torch.tensor(supervised[1:]), -100)
            found = adapted(input_ids=torch.tensor([ids])).logits[0, :-1]
            loss = torch.nn.functional.cross_entropy(found, targets, reduction="sum", ignore_index=-100) / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(trained, max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


@torch.no_grad()
def greedy(model, ids, count):
    output = model.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False, use_cache=True)
    return output[0, len(ids) :].tolist()
