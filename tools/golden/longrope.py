"""Writes what phi3_long/ comes to past its original positions: longrope.py FIXTURES_DIR, after decoder.py

README.md names every file and tensor.
"""

import json
import os
import sys

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import decoder

ORIGINAL = 256
# Of the logits of the long row, those of its first tokens and of some around and after the original positions.
KEPT = [*range(8), *range(ORIGINAL - 8, ORIGINAL + 44, 4)]
ROWS = [(300, 40), (ORIGINAL, 60), (ORIGINAL + 1, 60)]
PROMPT_TOKENS = 250


def main(fixtures):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    folder = os.path.join(fixtures, "phi3_long")
    model = load(folder)
    assert model.config.rope_parameters["original_max_position_embeddings"] == ORIGINAL
    generator = torch.Generator().manual_seed(60)
    rows = [row_of(generator, model.config.vocab_size, *row) for row in ROWS]
    tensors = {}
    for i, row in enumerate(rows):
        tensors[f"logits.{i}"] = decoder.row_logits(model, row["ids"]).detach()[kept(row)].contiguous()
    path = os.path.join(folder, "adapter_attention")
    adapted = PeftModel.from_pretrained(load(folder), path, is_trainable=True).eval()
    # each row alone: in a batch transformers would take the factors of the longest row for all
    gradients, loss = decoder.backward(adapted, rows)
    tensors |= {f"gradient.{key}": value for key, value in gradients.items()}
    golden = decoder.facts() | {"rows": rows, "kept": [kept(row) for row in rows], "loss": loss}
    with torch.no_grad():
        golden |= answers(model, generator)
    with open(os.path.join(folder, "long.json"), "w") as file:
        json.dump(golden, file)
        file.write("\n")
    save_file(tensors, os.path.join(folder, "long.safetensors"))


def load(folder):
    return AutoModelForCausalLM.from_pretrained(os.path.join(folder, "model"), dtype=torch.float32).eval()


def row_of(generator, vocab_size, length, supervised):
    ids = torch.randint(3, vocab_size, (length,), generator=generator).tolist()
    return {"ids": ids, "weights": [0.0] * (length - supervised) + [1.0] * supervised}


def kept(row):
    return [place for place in KEPT if place < len(row["ids"])]


def answers(model, generator):
    """Greedy tokens across the original positions, each from a pass over the whole text; transformers' cache gives the same."""
    for _ in range(200):
        prompt = torch.randint(3, model.config.vocab_size, (PROMPT_TOKENS,), generator=generator).tolist()
        found = decoder.greedy_tokens(model, prompt)
        if found["least_margin"] < decoder.LEAST_MARGIN:
            continue
        cached = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=len(found["greedy"]),
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert cached[0, PROMPT_TOKENS:].tolist() == found["greedy"]
        return {"prompt": prompt} | found
    raise AssertionError("no prompt without a close call")


if __name__ == "__main__":
    main(sys.argv[1])
