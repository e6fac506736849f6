"""Our folders in their hands: the adapter in PEFT, the merged model in transformers, added tokens through the chain."""

import json
import os

import material
import torch_side
from checks_numbers import largest
from table import at_most, holds
from transformers import AutoTokenizer
from world import NEW_TOKENS, plain_settings


def adapter_in_peft(world):
    adapter, _ = world.curves["f32"]
    adapted, warnings, unplaced = torch_side.with_adapter_watched(torch_side.load(world.folder), adapter)
    return [
        *loading_rows(warnings, unplaced),
        logits_row(world, "PEFT's logits and ours", torch_side.logits(adapted, world.texts[0]), world.student, adapter),
    ]


def adapter_in_auto_class(world):
    """PEFT's auto class has nothing but the adapter: it takes the base from the Hub's cache, by the name in its config."""
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    settings = plain_settings("f32") | {"train.max_steps": 8, "train.learning_rate": 1e-3, "student.base_model": name}
    adapter, _ = world.aludel.train(world.student, world.curve_data, settings)
    adapted = torch_side.with_adapter_by_its_base(adapter, world.hub_cache(name))
    found = torch_side.logits(adapted, world.texts[0])
    expected = torch_side.logits(torch_side.with_adapter(torch_side.load(world.folder), adapter), world.texts[0])
    named = adapted.peft_config["default"].base_model_name_or_path
    return [
        holds("the base that the adapter names", named, named == name, name),
        at_most("logits with this base and with the student's folder", largest(found, expected), 0),
        logits_row(world, "PEFT's logits and ours", found, world.student, adapter),
        holds(
            "the adapter changes the logits",
            f"{largest(found, world.reference_logits[0]):.2g}",
            largest(found, world.reference_logits[0]) > 1e-2,
            "> 1e-2",
        ),
    ]


def merged_in_transformers(world):
    adapter, _ = world.curves["f32"]
    merged = torch_side.load(world.merged)
    adapted = torch_side.with_adapter(torch_side.load(world.folder), adapter)
    found = torch_side.logits(merged, world.texts[0])
    ids = world.texts[0]
    return [
        logits_row(world, "transformers' logits and ours on the merged folder", found, world.merged),
        at_most(
            "KL of merged against base + adapter", torch_side.mean_kl(torch_side.logits(adapted, ids), found), 2e-4
        ),
        same_ids_row(world),
    ]


def added_tokens(world):
    """`<think>` and `</think>` added, trained until the student writes them, and merged."""
    rows = material.reasoning_rows(240)
    data = material.write_jsonl(world.path("reasoning.jsonl"), rows)
    adapter, _ = world.aludel.train(world.student, data, added_tokens_settings())
    merged_folder = world.aludel.merge(world.student, adapter)
    tokenizer = AutoTokenizer.from_pretrained(merged_folder)
    base_size = len(world.tokenizer)
    new_ids = [base_size, base_size + 1]
    ids = thinking_ids(tokenizer, world.texts[0])
    merged = torch_side.load(merged_folder)
    found = torch_side.logits(merged, ids)
    expected_ids = [[new_id] for new_id in new_ids]
    token_ids = [tokenizer(token, add_special_tokens=False)["input_ids"] for token in NEW_TOKENS]
    return [
        holds("ids of the new tokens in the merged folder", token_ids, token_ids == expected_ids, str(expected_ids)),
        *peft_on_resized_base(world, adapter, tokenizer, ids, found),
        logits_row(world, "transformers' logits and ours on the merged folder", found, merged_folder, ids=ids),
        *spoken_rows(world, tokenizer, merged, merged_folder, new_ids, rows[0]["prompt"]),
    ]


def added_tokens_settings():
    return plain_settings("f32") | {
        "student.add_tokens": NEW_TOKENS,
        "train.learning_rate": 1e-3,
        "train.per_device_train_batch_size": 4,
        "train.gradient_accumulation_steps": 1,
        "train.max_steps": 60,
    }


def peft_on_resized_base(world, adapter, tokenizer, ids, merged_logits):
    """PEFT wants the base resized before an adapter with trained rows can be put on it."""
    base = torch_side.load(world.folder)
    base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    adapted, warnings, unplaced = torch_side.with_adapter_watched(base, adapter)
    theirs = torch_side.logits(adapted, ids)
    return [
        *loading_rows(warnings, unplaced),
        logits_row(world, "PEFT's logits and ours", theirs, world.student, adapter, ids),
        at_most("KL of merged against base + adapter", torch_side.mean_kl(theirs, merged_logits), 2e-4),
    ]


def spoken_rows(world, tokenizer, merged, merged_folder, new_ids, prompt):
    messages = [{"role": "user", "content": prompt}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    spoken = torch_side.greedy(merged, tokenizer(rendered, add_special_tokens=False)["input_ids"], 96)
    reply = world.aludel.chat(merged_folder, prompt, 96)
    return [
        holds(
            "transformers' greedy answer has both new ids",
            set(new_ids) & set(spoken),
            set(new_ids) <= set(spoken),
            "both",
        ),
        holds("chat's reasoning", json.dumps(reply["reasoning"])[:60], reply["reasoning"], "not empty"),
        holds("chat's answer", json.dumps(reply["content"])[:60], reply["content"], "not empty"),
        holds("chat's end", reply["finish_reason"], reply["finish_reason"] == "stop", "stop"),
    ]


def thinking_ids(tokenizer, ids):
    first, last = tokenizer.convert_tokens_to_ids(NEW_TOKENS)
    return [*ids[:20], first, *ids[20:100], last, *ids[100:]]


def logits_row(world, name, theirs, model, adapter=None, ids=None):
    ours = world.aludel.logits(model, ids or world.texts[0], adapter)
    return at_most(name + ", largest difference", largest(ours, theirs), 2e-3)


def loading_rows(warnings, unplaced):
    return [
        holds("warnings while loading", "; ".join(warnings)[:80] or "none", not warnings, "none"),
        holds("tensors without a place, or places without a tensor", len(unplaced), not unplaced, "0"),
    ]


def same_ids_row(world):
    """The merged folder's tokenizer against the one that transformers makes of the GGUF."""
    merged = AutoTokenizer.from_pretrained(world.merged)
    assert os.path.exists(os.path.join(world.merged, "tokenizer.json"))
    ours, theirs = (
        [tokenizer(text, add_special_tokens=False)["input_ids"] for text in material.TEXTS]
        for tokenizer in (merged, world.tokenizer)
    )
    different = [one for one, other in zip(ours, theirs, strict=True) if one != other]
    return holds("texts whose ids differ in the merged folder's tokenizer", len(different), not different, "0")
