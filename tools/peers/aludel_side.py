"""Runs the aludel binary and reads what it wrote. Nothing here knows what the numbers should be."""

import json
import os

from processes import last_json, output_of
from safetensors.torch import load_file


class Aludel:
    """The binary, with a scratch folder for its output."""

    def __init__(self, binary, scratch):
        self.binary, self.scratch, self.runs = binary, scratch, 0

    def run(self, *arguments):
        """Runs one command to its end; its own words are the error when it fails. Returns what it printed."""
        return output_of([self.binary, *arguments])

    def logits(self, model, ids, adapter=None, dtype="f32", quantize="none"):
        return self.tensors("logits", model, ids, adapter, dtype, quantize)["logits"]

    def gradients(self, model, ids, adapter, dtype="f32"):
        """The gradients by PEFT's names, and the loss."""
        found = self.tensors("gradients", model, ids, adapter, dtype)
        return found, found.pop("loss").item()

    def tensors(self, command, model, ids, adapter, dtype, quantize="none"):
        output = self.fresh_path(".safetensors")
        adapter_flags = ["--adapter", adapter] if adapter else []
        listed = ",".join(map(str, ids))
        precision = ["--dtype", dtype, "--quantize", quantize]
        self.run(command, "--model", model, *adapter_flags, "--ids", listed, *precision, "--output", output)
        found = load_file(output)
        os.remove(output)
        return found

    def train_command(self, student, data, output_dir, settings, resume=False):
        command = ["train", "--student", student, "--data", data, "--output-dir", output_dir, "--json"]
        for key, value in settings.items():
            command += ["--set", f"{key}={toml(value)}"]
        return command + (["--resume"] if resume else [])

    def train(self, student, data, settings, output_dir=None):
        """Returns the adapter's folder and the records of the steps."""
        output_dir = output_dir or self.fresh_path("-run")
        printed = self.run(*self.train_command(student, data, output_dir, settings))
        return adapter_folder(last_json(printed), output_dir), step_records(output_dir)

    def merge(self, student, adapter, *options):
        output_dir = self.fresh_path("-merged")
        self.run("merge", "--adapter", adapter, "--student", student, "--output-dir", output_dir, *options)
        return output_dir

    def chat(self, model, prompt, max_new_tokens):
        options = ["--temperature", "0", "--max-new-tokens", max_new_tokens, "--json"]
        return last_json(self.run("chat", "--model", model, "--prompt", prompt, *options))

    def fresh_path(self, ending):
        self.runs += 1
        return os.path.join(self.scratch, f"{self.runs:03}{ending}")


def toml(value):
    """A value as TOML has it: JSON's, but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def adapter_folder(summary, output_dir):
    """The summary may name the adapter from the working folder or from the run folder."""
    named = summary["adapter"]
    return named if os.path.exists(named) else os.path.join(output_dir, named)


def step_records(output_dir):
    """The records of optimiser steps in metrics.jsonl, in order: `step`, `loss`, `rows` and more."""
    with open(os.path.join(output_dir, "metrics.jsonl")) as file:
        records = [json.loads(line) for line in file]
    return [record for record in records if "rows" in record]
