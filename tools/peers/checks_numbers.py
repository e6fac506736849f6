"""Logits, gradients and loss curves against transformers and PEFT in f32, with PyTorch's own bf16 beside ours."""

import material
import torch
import torch_side
from table import at_least, at_most, figure, holds
from world import CURVE_STEPS, LEARNING_RATE, MAX_GRAD_NORM


def logits_f32(world):
    rows = []
    for i, (ids, reference) in enumerate(zip(world.texts, world.reference_logits)):
        ours = world.aludel.logits(world.student, ids)
        rows.append(at_most(f"text {i + 1}, {len(ids)} tokens, largest difference", largest(ours, reference), 2e-3))
    return rows


def logits_bf16(world):
    torch_bf16 = torch_side.load(world.folder, torch.bfloat16)
    ours, theirs, tokens = 0.0, 0.0, 0
    for ids, reference in zip(world.texts, world.reference_logits):
        ours += len(ids) * torch_side.mean_kl(reference, world.aludel.logits(world.student, ids, dtype="bf16"))
        theirs += len(ids) * torch_side.mean_kl(reference, torch_side.logits(torch_bf16, ids))
        tokens += len(ids)
    ours, theirs = ours / tokens, theirs / tokens
    return [
        at_most(f"mean KL per token, {tokens} tokens", ours, 1.5e-3),
        at_most("the same, beside PyTorch bf16's in this run", ours, theirs),
    ]


def logits_nf4(world):
    """Against f32 on the weights that bitsandbytes' NF4 with double quantisation decodes to; the head is not quantised, as there."""
    model = torch_side.load(world.folder)
    exact = torch_side.logits(model, world.texts[0])
    torch_side.quantise_nf4(model)
    rows = [figure("quantisation itself, text 1, mean KL", torch_side.mean_kl(exact, torch_side.logits(model, world.texts[0])))]
    for i, ids in enumerate(world.texts):
        ours, reference = world.aludel.logits(world.student, ids, quantize="nf4"), torch_side.logits(model, ids)
        rows.append(at_most(f"text {i + 1}, {len(ids)} tokens, largest difference", largest(ours, reference), 2e-3))
    return rows


def gradients_f32(world):
    reference, loss = peft_gradients(world.folder, world.start_adapter, world.long_text)
    ours, our_loss = world.aludel.gradients(world.student, world.long_text, world.start_adapter)
    return [at_most("loss", abs(our_loss - loss), 1e-4), *tensor_rows(ours, reference, cosine=0.9995, norm=0.01)]


def gradients_bf16(world):
    reference, _ = peft_gradients(world.folder, world.start_adapter, world.long_text)
    ours, _ = world.aludel.gradients(world.student, world.long_text, world.start_adapter, dtype="bf16")
    theirs, _ = peft_gradients(world.folder, world.start_adapter, world.long_text, dtype=torch.bfloat16)
    autocast, _ = peft_gradients(world.folder, world.start_adapter, world.long_text, autocast=True)
    cosine, norm = agreement(joined(ours, reference), joined(reference, reference))
    their_cosine, _ = agreement(joined(theirs, reference), joined(reference, reference))
    autocast_cosine, _ = agreement(joined(autocast, reference), joined(reference, reference))
    return [
        *tensor_rows(ours, reference, cosine=0.99, norm=0.08),
        at_least("all tensors as one, cosine", cosine, 0.999),
        at_most("all tensors as one, norm off by", norm, 0.015),
        at_least("worst cosine beside PyTorch bf16's", worst(ours, reference)[0], worst(theirs, reference)[0]),
        at_least("cosine of all beside PyTorch bf16's", cosine, their_cosine),
        figure("PyTorch f32 weights under autocast, worst cosine", worst(autocast, reference)[0]),
        figure("PyTorch f32 weights under autocast, cosine of all", autocast_cosine),
    ]


def gradients_dora(world):
    """On every linear, with magnitudes that are not the norms of the rows."""
    adapter, ids = world.path("dora-adapter"), world.texts[0]
    torch_side.write_adapter(torch_side.load(world.folder), adapter, seed=9, target_modules="all-linear", use_dora=True)
    reference, loss = peft_gradients(world.folder, adapter, ids)
    ours, our_loss = world.aludel.gradients(world.student, ids, adapter)
    adapted = torch_side.with_adapter(torch_side.load(world.folder), adapter)
    logits = largest(world.aludel.logits(world.student, ids, adapter), torch_side.logits(adapted, ids))
    rows = tensor_rows(ours, reference, cosine=0.9995, norm=0.01)
    return [at_most("logits, largest difference", logits, 2e-3), at_most("loss", abs(our_loss - loss), 1e-4), *rows]


def gradients_rows_tied(world):
    return trained_row_gradients(world, tied=True)


def gradients_rows_untied(world):
    return trained_row_gradients(world, tied=False)


def trained_row_gradients(world, tied):
    folder, new_ids = world.extended(tied)
    ids = list(world.long_text)
    for i, at in enumerate(range(5, len(ids), 31)):  # the new tokens as inputs and as targets
        ids[at] = new_ids[i % len(new_ids)]
    adapter = world.path("rows-adapter-tied" if tied else "rows-adapter-untied")
    torch_side.write_adapter(torch_side.load(folder), adapter, seed=8, trained_ids=new_ids, head_too=not tied)
    reference, loss = peft_gradients(folder, adapter, ids)
    ours, our_loss = world.aludel.gradients(folder, ids, adapter)
    blocks = [name for name in reference if "trainable_tokens_delta" in name]
    rows = [at_most("loss", abs(our_loss - loss), 1e-4)]
    for name in blocks:
        cosine, norm = agreement(ours[name], reference[name])
        place = "head" if "lm_head" in name else "embedding"
        rows += [at_least(f"{place} rows, cosine", cosine, 0.9995), at_most(f"{place} rows, norm off by", norm, 0.01)]
    rows.append(holds("blocks of trained rows", len(blocks), len(blocks) == (1 if tied else 2), "1 tied, 2 untied"))
    return rows + tensor_rows(ours, reference, cosine=0.9995, norm=0.01)


def loss_curve_f32(world):
    return loss_curve(world, "f32", 2e-3)


def loss_curve_bf16(world):
    return loss_curve(world, "bf16", 2e-2)


REFERENCE_CURVES = {}


def loss_curve(world, dtype, bar):
    _, records = world.curves[dtype]
    order = tuple(tuple(record["rows"]) for record in records)
    if order not in REFERENCE_CURVES:
        rows = [material.supervised_ids(world.tokenizer, row) for row in world.curve_rows]
        adapted = torch_side.with_adapter(torch_side.load(world.folder), world.start_adapter, trainable=True)
        steps = [[rows[index] for index in step] for step in order]
        REFERENCE_CURVES[order] = torch_side.training_losses(adapted, steps, LEARNING_RATE, MAX_GRAD_NORM)
    theirs, ours = REFERENCE_CURVES[order], [record["loss"] for record in records]
    differences = [abs(a - b) for a, b in zip(ours, theirs)]
    return [
        holds("steps", len(ours), len(ours) == CURVE_STEPS, str(CURVE_STEPS)),
        at_most("first step's loss, difference", differences[0], bar),
        at_most("any step's loss, largest difference", max(differences), bar),
        figure("loss at the first step", theirs[0]),
        figure("loss at the last step", theirs[-1]),
    ]


def peft_gradients(folder, adapter, ids, dtype=torch.float32, autocast=False):
    """In bf16 the base is bf16 and PEFT keeps the adapter in f32, as it does by default."""
    adapted = torch_side.with_adapter(torch_side.load(folder, dtype), adapter, trainable=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        return torch_side.gradients(adapted, ids)


def tensor_rows(ours, reference, cosine, norm):
    missing = sorted(set(reference) ^ set(ours))
    names = holds("names", f"{len(ours)} tensors", not missing, f"PEFT's {len(reference)}")
    if missing:
        return [names, holds("first name on one side only", missing[0], False, "none")]
    worst_cosine, worst_norm = worst(ours, reference)
    return [names, at_least("worst cosine", worst_cosine, cosine), at_most("worst norm off by", worst_norm, norm)]


def worst(ours, reference):
    """The lowest cosine and the largest departure of a norm over all tensors; NaN if any is."""
    pairs = torch.tensor([agreement(ours[name], reference[name]) for name in reference], dtype=torch.float64)
    return pairs[:, 0].min().item(), pairs[:, 1].max().item()


def agreement(ours, reference):
    """The cosine between two tensors, and how far the norm is off, as a share."""
    a, b = ours.double().flatten(), reference.double().flatten()
    return (a @ b / (a.norm() * b.norm())).item(), (a.norm() / b.norm() - 1).abs().item()


def joined(tensors, order):
    return torch.cat([tensors[name].double().flatten() for name in order])


def largest(ours, reference):
    assert ours.shape == reference.shape, f"{tuple(ours.shape)} and not {tuple(reference.shape)}"
    return (ours.double() - reference.double()).abs().max().item()
