"""Writes gradients of losses on hidden states, as PyTorch computes them: hidden.py MODEL_FIXTURES OUT.safetensors, after gradients.py

Students and teachers are models of decoder.py and gradients.py. README.md names every tensor.
"""

import os
import sys

import torch
import torch.nn.functional as F
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import decoder

# Name, student, teacher, pairs of layers counted from 1, loss, weights of hidden and of cross-entropy.
CASES = [
    ("same_width", "tied", "gemma3_scaled", [(1, 2), (2, 3)], "mse", (1.0, 0.0)),
    ("projected", "head_dim", "tied", [(1, 2), (2, 2)], "cosine", (1.0, 0.0)),
    ("mixed", "head_dim", "tied", [(1, 1)], "mse", (2.0, 0.5)),
]


def main(fixtures, path):
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tensors, facts = {}, {key: str(value) for key, value in decoder.facts()["versions"].items()}
    for case in CASES:
        more, results = gradients(fixtures, *case[1:])
        tensors |= {f"{case[0]}.{name}": value for name, value in more.items()}
        facts |= {f"{case[0]}.{name}": repr(value) for name, value in results.items()}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=facts)


def gradients(fixtures, student, teacher, pairs, kind, weights):
    """The gradients of an adapter and of projections, with the initial values of the latter; and the loss, with the norms of its parts'
    gradients where layers feed the residual stream: of cross-entropy after the last, of hidden states where there is one pair."""
    rows = decoder.read_json(os.path.join(fixtures, "tied", "golden.json"))["rows"]
    base, target = (
        AutoModelForCausalLM.from_pretrained(os.path.join(fixtures, name, "model"), dtype=torch.float32)
        for name in (student, teacher)
    )
    adapter = os.path.join(fixtures, student, "adapter_all_linear")
    adapted = PeftModel.from_pretrained(base, adapter, is_trainable=True).eval()
    widths = base.config.hidden_size, target.config.hidden_size
    generator = torch.Generator().manual_seed(30)
    projections = {}
    if widths[0] != widths[1]:
        for own, _ in pairs:
            values = torch.rand((widths[1], widths[0]), generator=generator) * 2 - 1
            projections[own] = (values / widths[0] ** 0.5).requires_grad_()
    total, count, squares = 0.0, 0, {"ce": 0.0, "hidden": 0.0}
    for row in rows:
        ids, of_tokens = torch.tensor([row["ids"]]), torch.tensor(row["weights"])[1:]
        logits, states = with_states(adapted, base.model.layers, ids)
        with torch.no_grad():
            targets = with_states(target, target.model.layers, ids)[1]
        of_states = 0.0
        for own, other in pairs:
            state = states[own][0, :-1]
            if own in projections:
                state = state @ projections[own].T
            distances = distance(kind, state, targets[other][0, :-1])
            of_states = of_states + weights[0] / len(pairs) * (distances * of_tokens).sum()
        total = total + of_states
        if weights[1] > 0:
            losses = F.cross_entropy(logits[:-1], ids[0, 1:], reduction="none")
            of_texts = weights[1] * (losses * of_tokens).sum()
            total = total + of_texts
            for part, loss, layer in [("ce", of_texts, max(states)), ("hidden", of_states, pairs[0][0])]:
                squares[part] += torch.autograd.grad(loss, states[layer], retain_graph=True)[0].square().sum().item()
        count += int((of_tokens != 0).sum())
    (total / count).backward()
    tensors = decoder.adapter_parameters(adapted, gradient=True)
    for own, values in projections.items():
        tensors |= {f"projection.{own}": values.detach(), f"projection.{own}.gradient": values.grad}
    results = {"loss": (total / count).item()}
    if weights[1] > 0:
        results |= {f"norm.{part}": value**0.5 / count for part, value in squares.items()}
    return tensors, results


def with_states(model, layers, ids):
    """Logits, and the residual stream after each layer, before any last norm: by the layer's number, from 1."""
    states = {}

    def keep(number):
        return lambda _module, _inputs, output: states.update({number: output})

    hooks = [layer.register_forward_hook(keep(number)) for number, layer in enumerate(layers, 1)]
    logits = model(input_ids=ids, use_cache=False).logits[0]
    for hook in hooks:
        hook.remove()
    return logits, states


def distance(kind, student, teacher):
    if kind == "cosine":
        return 1 - F.cosine_similarity(student, teacher, dim=-1)
    student, teacher = (state / state.square().mean(-1, keepdim=True).sqrt() for state in (student, teacher))
    return (student - teacher).square().mean(-1)


if __name__ == "__main__":
    main(*sys.argv[1:])
