"""TRL's SFTTrainer on the same job as torch_loop.py, timed: LoRA on a frozen base in bf16, packed rows of random tokens
without padding.

trl_loop.py FOLDER --batch 1 --accumulate 4 --length 1024 --steps 3 --threads 2
prints one JSON object: tokens_per_second (median step, the first one left out), peak_rss_bytes.
"""

import tempfile
import time

import torch
from datasets import Dataset
from torch_loop import LORA, argument_parser, report
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class StepTimes(TrainerCallback):
    """Seconds of each optimiser step, as the trainer itself sees them begin and end."""

    def __init__(self):
        self.seconds = []

    def on_step_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds.append(time.perf_counter() - self.start)


def main():
    options = argument_parser(__doc__).parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    times = StepTimes()
    with tempfile.TemporaryDirectory(prefix="aludel-trl-") as output_dir:
        trainer(options, times, output_dir).train()
    report(options, times.seconds)


def trainer(options, times, output_dir):
    model = AutoModelForCausalLM.from_pretrained(
        options.student, dtype=torch.bfloat16, attn_implementation="sdpa", use_cache=False
    )
    row_count = options.batch * options.accumulate * (options.steps + 1)
    rows = torch.randint(model.config.vocab_size, (row_count, options.length)).tolist()
    return SFTTrainer(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(options.student),
        train_dataset=Dataset.from_dict({"input_ids": rows}),
        callbacks=[times],
        peft_config=LORA,
        args=SFTConfig(
            output_dir=output_dir,
            max_steps=options.steps + 1,
            per_device_train_batch_size=options.batch,
            gradient_accumulation_steps=options.accumulate,
            max_length=options.length,
            # The default strategy joins a batch into one row, whose attention then spans all of it: slower on a CPU.
            packing=True,
            packing_strategy="wrapped",
            gradient_checkpointing=False,
            bf16=True,
            use_cpu=True,
            learning_rate=2e-4,
            max_grad_norm=0.3,
            optim="adamw_torch",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
    )


if __name__ == "__main__":
    main()
