"""Models of known shapes with invented contents, as Hugging Face folders: config, tokenizer, and weights that are either random or not on the
disk at all. What is measured with them is left to the scripts."""

import array
import json
import math
import random

# class, hidden_size, intermediate_size, layers, heads, key and value heads, head_dim, vocabulary, tied, positions
MODELS = {
    "SmolLM2-135M": ("Llama", 576, 1536, 30, 9, 3, 64, 49152, True, 8192),
    "SmolLM2-360M": ("Llama", 960, 2560, 32, 15, 5, 64, 49152, True, 8192),
    "TinyLlama-1.1B": ("Llama", 2048, 5632, 22, 32, 4, 64, 32000, False, 2048),
    "Qwen2.5-0.5B": ("Qwen2", 896, 4864, 24, 14, 2, 64, 151936, True, 32768),
    "Qwen3-0.6B": ("Qwen3", 1024, 3072, 28, 16, 8, 128, 151936, True, 40960),
    "Llama-3.2-1B": ("Llama", 2048, 8192, 16, 32, 8, 64, 128256, True, 131072),
    "Qwen2.5-1.5B": ("Qwen2", 1536, 8960, 28, 12, 2, 128, 151936, True, 32768),
    "SmolLM2-1.7B": ("Llama", 2048, 8192, 24, 32, 32, 64, 49152, True, 8192),
    "R1-Distill-Qwen-1.5B": ("Qwen2", 1536, 8960, 28, 12, 2, 128, 151936, False, 131072),
    "Llama-3.2-3B": ("Llama", 3072, 8192, 28, 24, 8, 128, 128256, True, 131072),
    "Phi-3-mini": ("Phi3", 3072, 8192, 32, 32, 32, 96, 32064, False, 4096),
}
# In letters; the mean is then some seven, as it is in the models' own.
LONGEST_TOKEN = 12
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
# What the template puts around a prompt and a response; a token a letter, as all of a row is.
AROUND = "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n"
SHARD_BYTES = 5_000_000_000
# Of random weights, which is about that of trained ones; and the numbers that are drawn, pieces of which all tensors are made of.
STANDARD_DEVIATION = 0.02
DRAWN = 1 << 21
PIECE = 1 << 20


def row(tokens):
    """A row of so many tokens."""
    around = AROUND.replace("<|im_start|>", "1").replace("<|im_end|>", "2")
    return json.dumps({"prompt": "?", "response": "x" * (tokens - len(around) - 1)}) + "\n"


def write_model(folder, family, hidden, inner, layers, heads, kv_heads, head_dim, vocabulary, tied, positions, weights="absent"):
    """Writes a model to an empty folder, and returns how many parameters it has. Weights are "random", or "absent": then their files are as
    large, but the disk holds nothing but their headers."""
    tokens = vocabulary - 53 if family == "Phi3" else vocabulary  # Phi-3's weights have rows for more tokens than it has
    config = {
        "architectures": [f"{family}ForCausalLM"], "model_type": family.lower(), "vocab_size": vocabulary, "hidden_size": hidden,
        "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "max_position_embeddings": positions, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": tied, "torch_dtype": "bfloat16", "eos_token_id": tokens - 1,
    }
    if family == "Phi3":
        config |= {"original_max_position_embeddings": positions, "rope_scaling": None, "sliding_window": 2047, "pad_token_id": tokens - 1}
    else:
        config["head_dim"] = head_dim
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(tokens)))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    shapes = {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden]}
    if not tied:
        shapes["lm_head.weight"] = [vocabulary, hidden]
    queries, keys = heads * head_dim, kv_heads * head_dim
    if family == "Phi3":
        linears = {"self_attn.qkv_proj": [queries + 2 * keys, hidden], "mlp.gate_up_proj": [2 * inner, hidden]}
    else:
        linears = {
            "self_attn.q_proj": [queries, hidden], "self_attn.k_proj": [keys, hidden], "self_attn.v_proj": [keys, hidden],
            "mlp.gate_proj": [inner, hidden], "mlp.up_proj": [inner, hidden],
        }
    linears |= {"self_attn.o_proj": [hidden, queries], "mlp.down_proj": [hidden, inner]}
    linears |= {"input_layernorm": [hidden], "post_attention_layernorm": [hidden]}
    tensors = {f"{name}.weight": shape for name, shape in linears.items()}
    if family == "Qwen2":
        tensors |= {f"self_attn.{name}_proj.bias": linears[f"self_attn.{name}_proj"][:1] for name in "qkv"}
    if family == "Qwen3":
        tensors |= {f"self_attn.{name}_norm.weight": [head_dim] for name in "qk"}
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in tensors.items()}
    write_weights(folder, shapes, Drawn() if weights == "random" else None)
    return sum(map(math.prod, shapes.values()))


def write_weights(folder, shapes, drawn):
    """bf16 shards and their index; one file where that is enough."""
    shards, filled = [{}], 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        if filled and filled + size > SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1][name] = shape
        filled += size
    weight_map = {}
    for number, shard in enumerate(shards):
        file_name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors" if len(shards) > 1 else "model.safetensors"
        weight_map |= dict.fromkeys(shard, file_name)
        header, end = {}, 0
        for name, shape in shard.items():
            begin, end = end, end + 2 * math.prod(shape)
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with (folder / file_name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            if drawn is None:
                file.truncate(8 + len(text) + end)
                continue
            for name, shape in shard.items():
                for piece in drawn.pieces(2 * math.prod(shape), is_norm=name.endswith("norm.weight")):
                    file.write(piece)
    if len(shards) > 1:
        index = {"metadata": {"total_size": 2 * sum(map(math.prod, shapes.values()))}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


class Drawn:
    """Normally distributed numbers in bf16. A model has billions of weights, and to draw each would take an hour: a few millions are drawn, and each
    tensor is a sequence of pieces that begin at random places among them."""

    def __init__(self):
        self.draw = random.Random(0)
        floats = array.array("f", (self.draw.gauss(0.0, STANDARD_DEVIATION) for _ in range(DRAWN))).tobytes()
        self.numbers = bytearray(2 * DRAWN)
        self.numbers[0::2], self.numbers[1::2] = floats[2::4], floats[3::4]

    def pieces(self, size, is_norm):
        """So many bytes of weights; ones for a norm, as where it has not been trained."""
        while size > 0:
            length = min(size, PIECE)
            begin = 2 * self.draw.randrange(DRAWN - PIECE // 2)
            yield b"\x80\x3f" * (length // 2) if is_norm else memoryview(self.numbers)[begin:begin + length]
            size -= length


def tokenizer(size):
    """Byte-level BPE: the bytes, two control tokens, and merges up to this size."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters, hidden = {}, 0
    for byte in range(256):
        letters[byte] = chr(byte) if byte in visible else chr(256 + hidden)
        hidden += byte not in visible
    vocabulary, merges = {letter: byte for byte, letter in letters.items()}, []
    # What rows are made of stays a token a letter, so that their length is known.
    plain = set("<|im_start|>user?assistantx<|im_end|>") | {letters[ord("\n")]}
    parts = {1: [letter for letter in letters.values() if letter not in plain and letter.isascii()]}
    draw = random.Random(0)
    while len(vocabulary) + 2 < size:
        length = draw.randint(2, LONGEST_TOKEN)
        cut = draw.randint(1, length - 1)
        if cut in parts and length - cut in parts:
            first, second = draw.choice(parts[cut]), draw.choice(parts[length - cut])
            if first + second not in vocabulary:
                vocabulary[first + second] = len(vocabulary)
                merges.append([first, second])
                parts.setdefault(length, []).append(first + second)
    control = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": size - 2, "content": "<|im_start|>", **control}, {"id": size - 1, "content": "<|im_end|>", **control}],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary, "merges": merges},
    }
