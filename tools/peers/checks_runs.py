"""Aludel against itself: threads, passes, and a run that is killed again and again."""

import os
import random
import shutil
import signal
import subprocess
import time

import material
import torch
from aludel_side import adapter_folder, step_records
from processes import last_json
from safetensors.torch import load_file
from table import at_most, holds
from world import plain_settings

KILLS = 20
KILLED_RUN_STEPS = 12


def threads(world):
    rows = []
    for dtype in ("f32", "bf16"):
        one, two = (train_short(world, dtype, {"student.threads": count}) for count in (1, 2))
        rows += [
            holds(f"{dtype}, losses of 1 and 2 threads", equality(one[1] == two[1]), one[1] == two[1], "equal"),
            same_file_row(f"{dtype}, adapters of 1 and 2 threads", one[0], two[0]),
        ]
    return rows


def passes(world):
    short, long = (train_short(world, "f32", {"train.tokens_per_pass": count}) for count in (512, 1024))
    a, b = (load_file(os.path.join(folder, "adapter_model.safetensors")) for folder in (short[0], long[0]))
    losses = max(abs(x - y) for x, y in zip(short[1], long[1], strict=True))
    weights = torch.stack([(a[name].double() - b[name].double()).abs().max() for name in a]).max().item()
    return [
        at_most("losses of passes of 512 and 1,024 tokens, largest difference", losses, 1e-5),
        at_most("adapters of passes of 512 and 1,024 tokens, largest difference", weights, 1e-5),
    ]


def kill_resume(world):
    """Kills a training run at random moments, resumes it, and compares what it comes to with the undisturbed run."""
    generator = random.Random(world.seed)
    data = material.write_jsonl(world.path("killed.jsonl"), material.chat_rows(world.data, 16))
    start = time.monotonic()
    expected, records = world.aludel.train(world.student, data, killed_run_settings())
    duration_s = time.monotonic() - start
    kills, runs, unequal, wrong_records = 0, 0, 0, 0
    while kills < KILLS:
        output_dir = world.aludel.fresh_path("-killed")
        happened, adapter = killed_until_done(world, data, output_dir, generator, duration_s, KILLS - kills)
        kills, runs = kills + happened, runs + 1
        unequal += not same_bytes(adapter, expected)
        wrong_records += [(r["step"], r["loss"]) for r in step_records(output_dir)] != [
            (r["step"], r["loss"]) for r in records
        ]
        shutil.rmtree(output_dir)
    return [
        holds("kills", f"{kills} in {runs} runs, seed {world.seed}", kills >= KILLS, str(KILLS)),
        holds("final adapters unlike the undisturbed one", unequal, unequal == 0, "0"),
        holds("metrics.jsonl unlike the undisturbed one", wrong_records, wrong_records == 0, "0"),
    ]


def killed_until_done(world, data, output_dir, generator, duration_s, most_kills):
    """Resumes and kills a run until it ends by itself. Returns how often it was killed, and the adapter's folder."""
    kills, resume = 0, False
    while True:
        command = world.aludel.train_command(world.student, data, output_dir, killed_run_settings(), resume)
        with subprocess.Popen(
            [world.binary, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:
            try:
                moment_s = generator.uniform(0, duration_s) if kills < most_kills else None
                printed, errors = run.communicate(timeout=moment_s)
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
                run.communicate()
                # One that was just done has not been killed.
                kills += run.returncode == -signal.SIGKILL
                resume = True
                continue
        if run.returncode != 0:
            raise RuntimeError(f"after {kills} kills, exit code {run.returncode}: {errors.strip()[-600:]}")
        return kills, adapter_folder(last_json(printed), output_dir)


def killed_run_settings():
    """Dropout on and a schedule that moves, so that a lost random state or step count would show."""
    return plain_settings("auto") | {
        "lora.dropout": 0.2,
        "train.lr_scheduler_type": "cosine",
        "train.warmup_ratio": 0.2,
        "train.save_strategy": "steps",
        "train.save_steps": 2,
        "train.save_total_limit": 2,
        "train.max_steps": KILLED_RUN_STEPS,
        "train.per_device_train_batch_size": 1,
        "train.gradient_accumulation_steps": 2,
    }


def train_short(world, dtype, settings):
    """Four steps of about 1,500 tokens with dropout. Returns the adapter's folder and the losses."""
    data = material.write_jsonl(world.path("short.jsonl"), material.chat_rows(world.data, 40))
    common = {
        "lora.dropout": 0.2,
        "train.max_steps": 4,
        "train.per_device_train_batch_size": 5,
        "train.gradient_accumulation_steps": 2,
    }
    adapter, records = world.aludel.train(world.student, data, plain_settings(dtype) | common | settings)
    return adapter, [record["loss"] for record in records]


def same_file_row(name, one, two):
    same = same_bytes(one, two)
    return holds(name, equality(same), same, "equal")


def same_bytes(one, two):
    contents = []
    for folder in (one, two):
        with open(os.path.join(folder, "adapter_model.safetensors"), "rb") as file:
            contents.append(file.read())
    return contents[0] == contents[1]


def equality(same):
    return "equal, bit for bit" if same else "unequal"
