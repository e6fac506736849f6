"""What the rows share: the student in its forms, the contenders as functions that take one reading, and the order in
which readings are taken.
"""

import os
import sys
from dataclasses import dataclass
from functools import cached_property, partial

import llama_side
from processes import Recorded, last_json

TOKENS_PER_STEP = 4096
PROMPT_LENGTH = 128
# The adapter of the Python peers, where a row says nothing else.
ATTENTION_ADAPTER = ("lora.r=8", 'lora.target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]')
# A contender this close to the fastest after one short reading may well be the fastest: such machines are that noisy.
CLOSE = 0.85
# What keeps PyTorch's libraries from instructions beyond ours.
PYTORCH_LIMITS = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
}
HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass(frozen=True)
class Effort:
    training_rounds: int
    training_steps: int
    generation_rounds: int
    new_tokens: int


FULL = Effort(training_rounds=3, training_steps=3, generation_rounds=5, new_tokens=128)
QUICK = Effort(training_rounds=1, training_steps=1, generation_rounds=2, new_tokens=32)


class World:
    def __init__(self, binary, student, work, llama_folder, threads, effort):
        self.binary, self.student, self.work = os.path.abspath(binary), os.path.abspath(student), work
        self.llama_folder, self.threads, self.effort = llama_folder, threads, effort
        self.recorded = Recorded()
        self.row = None
        self.scouted, self.readings = {}, []
        os.makedirs(work, exist_ok=True)

    @cached_property
    def folder(self):
        """The student as an f32 Hugging Face folder."""
        # Not above: importing torch takes seconds, and rows about generation do without.
        import torch_side
        import transformers

        transformers.utils.logging.disable_progress_bar()
        folder = os.path.join(self.work, "student")
        torch_side.dequantise(self.student, folder)
        return folder

    @cached_property
    def llama(self):
        return llama_side.Llama(llama_side.build(self.llama_folder), self.recorded, self.threads)

    def gguf(self, kind):
        """The student with every matrix in that type, one file for both sides."""
        stem = os.path.splitext(os.path.basename(self.student))[0]
        path = os.path.join(self.work, f"{stem}-as-{kind}.gguf")
        self.llama.requantise(self.student, path, kind)
        return path

    def alternate(self, contenders, rounds):
        """A B A B …, so that what drifts on the machine drifts for all of them. Returns each one's readings."""
        found = {name: [] for name in contenders}
        for round_number in range(1, rounds + 1):
            for name, take_reading in contenders.items():
                found[name].append(self.taken(name, round_number, take_reading))
        return found

    def taken(self, name, round_number, take_reading):
        reading = take_reading()
        self.readings.append({"row": self.row, "contender": name, "round": round_number, **reading})
        print(f"  {name}, round {round_number}: {brief(reading)}", file=sys.stderr, flush=True)
        return reading

    def strongest(self, contenders):
        """Those that come close to the fastest of them in one short reading. Each is a function of the timed steps, and
        is scouted once, whatever rows ask for it.
        """
        for name, train in contenders.items():
            if name not in self.scouted:
                self.scouted[name] = self.taken(name, 0, partial(train, 1))["tokens_per_second"]
        fastest = max(self.scouted[name] for name in contenders)
        close = (name for name in contenders if self.scouted[name] >= CLOSE * fastest)
        return {name: partial(contenders[name], self.effort.training_steps) for name in close}

    def our_training(self, length=1024, threads=None, settings=(), isa=None):
        shape = ["--sequence-length", length, "--tokens-per-step", TOKENS_PER_STEP]
        effort = ["--steps", self.effort.training_steps, "--threads", threads or self.threads]
        # a later setting overrides an earlier one
        sets = [part for setting in (*ATTENTION_ADAPTER, *settings) for part in ("--set", setting)]
        command = ("bench", "train", "--student", self.student, *shape, *effort, *sets, "--json")
        return self.ours(*command, variables={"ALUDEL_ISA": isa} if isa else None)

    def our_generation(self, model, dtype, *shape):
        place = ["--student", model, "--dtype", dtype, "--threads", self.threads]
        return self.ours("bench", "generate", *place, *shape, "--json")

    def our_first_token_seconds(self, prompt):
        asked = ["--prompt", prompt, "--max-new-tokens", 1, "--threads", self.threads]
        return self.recorded.seconds_of([self.binary, "chat", "--model", self.student, *asked])

    def ours(self, *arguments, variables=None):
        return last_json(self.recorded.output_of([self.binary, *arguments], variables))

    def torch_loops(self, dtypes, isa=None):
        """The plain loop in those dtypes, one and two rows a pass, as functions of the timed steps."""
        on = f" on {isa}" if isa else ""
        return {
            f"plain loop {dtype}{on}, {TOKENS_PER_STEP // 1024 // batch} × ({batch} × 1024)": partial(
                self.python_loop, "torch_loop.py", batch, ["--dtype", dtype], isa
            )
            for dtype in dtypes
            for batch in (1, 2)
        }

    def trl_loops(self):
        return {
            f"TRL bf16, {TOKENS_PER_STEP // 1024 // batch} × ({batch} × 1024)": partial(
                self.python_loop, "trl_loop.py", batch, [], None
            )
            for batch in (1, 2, 4)
        }

    def python_loop(self, script, batch, flags, isa, steps):
        shape = ["--batch", batch, "--accumulate", TOKENS_PER_STEP // 1024 // batch, "--length", 1024]
        effort = ["--steps", steps, "--threads", self.threads]
        command = [sys.executable, os.path.join(HERE, script), self.folder, *flags, *shape, *effort]
        return last_json(self.recorded.output_of(command, PYTORCH_LIMITS[isa] if isa else None))


def brief(reading):
    """The rates and times of a reading, for whoever waits."""
    found = {}
    for key, value in reading.items():
        if key.endswith(("_per_second", "wall_seconds", "utilisation")):
            found |= {f"{key} {size}": one for size, one in value.items()} if isinstance(value, dict) else {key: value}
    return ", ".join(f"{key} {value:.4g}" for key, value in found.items())
