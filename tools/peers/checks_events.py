"""TensorBoard's own reader on the event file of a run that was stopped and went on, beside what the run recorded itself."""

import glob
import json
import os
import signal
import subprocess

import material
from table import holds
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

STEPS = 12
LOGGED_EVERY = 2
PROMPTS = ["What is 2 + 2?", "Say # hello."]


def tensorboard(world):
    data = material.write_jsonl(world.path("events.jsonl"), material.chat_rows(world.data, 16))
    output_dir = world.aludel.fresh_path("-events")
    stopped = train_until_stopped(world, data, output_dir)
    finished = subprocess.run(
        [world.binary, *train_command(world, data, output_dir, resume=True)], stdout=subprocess.PIPE, check=True
    )
    state = json.loads(finished.stdout.splitlines()[-1])
    files = glob.glob(os.path.join(output_dir, "runs", "*tfevents*"))
    read = EventAccumulator(os.path.join(output_dir, "runs"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    records = [json.loads(line) for line in open(os.path.join(output_dir, "metrics.jsonl"))]
    steps = [record for record in records if "rows" in record]
    tags = read.Tags()
    logged = [record for record in steps if record["step"] % LOGGED_EVERY == 0]
    return [
        holds("stopped after some step, and finished", f"{stopped} of {STEPS}", stopped < STEPS and state["finished"], "yes"),
        holds("event files", len(files), len(files) == 1, "1"),
        same("train/loss", read, means(steps)),
        same("train/grad_norm", read, [(record["step"], record["grad_norm"]) for record in logged]),
        same("train/learning_rate", read, [(record["step"], record["learning_rate"]) for record in logged]),
        same("train/epoch", read, [(record["step"], record["epoch"]) for record in logged]),
        same("eval/loss", read, [(record["step"], record["eval_loss"]) for record in records if "eval_loss" in record]),
        same_texts(read, tags, [record for record in records if "samples" in record]),
    ]


def train_command(world, data, output_dir, resume):
    settings = {
        "train.max_steps": STEPS,
        "train.logging_steps": LOGGED_EVERY,
        "train.eval_strategy": "steps",
        "train.eval_steps": 4,
        "train.report_to": "tensorboard",
        "train.sample_prompts": PROMPTS,
        "train.sample_max_new_tokens": 12,
        "data.test_size": 0.2,
    }
    return world.aludel.train_command(world.student, data, output_dir, settings, resume)


def train_until_stopped(world, data, output_dir):
    """Stops the run, as Ctrl-C does, after its second logged step. Returns the step that it had done by then."""
    command = [world.binary, *train_command(world, data, output_dir, resume=False)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        logged = 0
        for line in run.stdout:
            logged += json.loads(line).get("event") == "step"
            if logged == 2:
                run.send_signal(signal.SIGINT)
                break
        last = json.loads(run.stdout.read().splitlines()[-1])
    return last["steps"]


def means(steps):
    """The mean loss of the steps since the log line before."""
    chunks = [steps[at : at + LOGGED_EVERY] for at in range(0, len(steps), LOGGED_EVERY)]
    return [(chunk[-1]["step"], sum(record["loss"] for record in chunk) / len(chunk)) for chunk in chunks]


def same(tag, read, expected):
    """Each step once, in order, with the recorded value as TensorBoard keeps it, in f32."""
    found = [(event.step, event.value) for event in read.Scalars(tag)]
    is_same = [step for step, _ in found] == [step for step, _ in expected] and all(
        abs(value - wanted) <= 1e-6 * max(1, abs(wanted)) for (_, value), (_, wanted) in zip(found, expected, strict=True)
    )
    return holds(f"{tag} as recorded", f"{len(found)} of {len(expected)} steps", is_same and found != [], "all")


def same_texts(read, tags, records):
    """Sample answers under a tag for each prompt, letter for letter behind the four spaces that Markdown takes for code."""
    found, expected = [], []
    for index, prompt in enumerate(PROMPTS):
        tag = f"sample_prompts/{index + 1}"
        if tag in tags["tensors"]:
            found += [(event.step, event.tensor_proto.string_val[0].decode()) for event in read.Tensors(tag)]
        for record in records:
            sample = record["samples"][index]
            parts = [prompt, *([sample["reasoning"]] if sample["reasoning"] else []), sample["content"]]
            blocks = ["\n".join(f"    {line}" for line in part.split("\n") if part) for part in parts]
            expected.append((record["step"], "\n\n".join(blocks)))
    is_same = found == expected and len(found) == 4 * len(PROMPTS)
    plugin = read.SummaryMetadata("sample_prompts/1").plugin_data.plugin_name if found else "none"
    return holds("sample answers as texts", f"{len(found)}, plugin {plugin}", is_same and plugin == "text", f"{4 * len(PROMPTS)}, plugin text")
