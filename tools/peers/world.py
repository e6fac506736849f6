"""What the checks share: the binary, the student in its forms, adapters, texts, and the results of slow steps, each
made once and only when a check asks for it.
"""

import os
import shutil
from functools import cached_property

import material
import torch_side
from aludel_side import Aludel
from transformers import AutoTokenizer

NEW_TOKENS = ["<think>", "</think>"]
CURVE_STEPS = 30
CURVE_ROWS_PER_STEP = 2
LEARNING_RATE = 2e-4
MAX_GRAD_NORM = 0.3


class World:
    def __init__(self, binary, student, data_path, work, seed):
        self.binary, self.student, self.work, self.seed = binary, student, work, seed
        self.data = material.read_jsonl(data_path) if data_path else None
        # Converted students may be kept for the next time; what an earlier binary wrote must never be read again.
        shutil.rmtree(self.path("scratch"), ignore_errors=True)
        os.makedirs(self.path("scratch"))
        self.aludel = Aludel(binary, self.path("scratch"))

    def path(self, *names):
        return os.path.join(self.work, *names)

    @cached_property
    def folder(self):
        """The student as an f32 Hugging Face folder."""
        torch_side.dequantise(self.student, self.path("student"))
        return self.path("student")

    def hub_cache(self, name):
        """A cache as Hugging Face's tools keep it, in which the student's folder has a name on the Hub."""
        commit = "0" * 40
        cache = self.path("scratch", "hub")
        repository = os.path.join(cache, "models--" + name.replace("/", "--"))
        os.makedirs(os.path.join(repository, "refs"))
        with open(os.path.join(repository, "refs", "main"), "w") as file:
            file.write(commit)
        os.makedirs(os.path.join(repository, "snapshots"))
        os.symlink(os.path.abspath(self.folder), os.path.join(repository, "snapshots", commit))
        return cache

    @cached_property
    def tokenizer(self):
        return AutoTokenizer.from_pretrained(self.folder)

    @cached_property
    def texts(self):
        return material.texts(self.data, self.tokenizer)

    @cached_property
    def long_text(self):
        """At least 1,000 tokens in one row, for gradients."""
        ids = [token for text in self.texts for token in text]
        assert len(ids) >= 1000, "the five texts are too short together"
        return ids[:1100]

    @cached_property
    def reference_logits(self):
        model = torch_side.load(self.folder)
        return [torch_side.logits(model, ids) for ids in self.texts]

    @cached_property
    def start_adapter(self):
        """PEFT's own adapter with B ~ N(0, 0.01): the operand of the gradients, and where the loss curves start."""
        folder = self.path("start-adapter")
        torch_side.write_adapter(torch_side.load(self.folder), folder, seed=7)
        return folder

    def extended(self, tied):
        """The student with two new tokens as an f32 folder, and their ids."""
        folder = self.path("extended-tied" if tied else "extended-untied")
        return folder, torch_side.extend(self.folder, folder, NEW_TOKENS, tied)

    @cached_property
    def curve_rows(self):
        return material.chat_rows(self.data, CURVE_STEPS * CURVE_ROWS_PER_STEP)

    @cached_property
    def curve_data(self):
        return material.write_jsonl(self.path("curve.jsonl"), self.curve_rows)

    @cached_property
    def curves(self):
        """Adapter folder and step records of the 30-step run, by dtype."""
        return {
            dtype: self.aludel.train(self.student, self.curve_data, self.curve_settings(dtype))
            for dtype in ("f32", "bf16")
        }

    def curve_settings(self, dtype):
        return plain_settings(dtype) | {
            "train.max_steps": CURVE_STEPS,
            "train.per_device_train_batch_size": 1,
            "train.gradient_accumulation_steps": CURVE_ROWS_PER_STEP,
            "train.init_adapter": os.path.abspath(self.start_adapter),
        }

    @cached_property
    def merged(self):
        """The trained f32 adapter merged into the student."""
        return self.aludel.merge(self.student, self.curves["f32"][0])


def plain_settings(dtype):
    """No dropout, no schedule, nothing held back: what a loop of a few lines in PyTorch does too."""
    return {
        "student.dtype": dtype,
        "lora.r": 8,
        "lora.alpha": 16,
        "lora.dropout": 0.0,
        "lora.target_modules": torch_side.ATTENTION,
        "train.learning_rate": LEARNING_RATE,
        "train.lr_scheduler_type": "constant",
        "train.warmup_ratio": 0.0,
        "train.weight_decay": 0.0,
        "train.max_grad_norm": MAX_GRAD_NORM,
        "train.packing": False,
        "train.max_length": 2048,
        "train.eval_strategy": "no",
        "train.save_strategy": "no",
        "data.test_size": 0.0,
    }
