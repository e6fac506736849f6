"""The plain PyTorch + PEFT loop, timed: LoRA on a frozen base, rows of random tokens without padding, all of them
supervised. No trainer around it, so nothing is computed that the step does not need.

torch_loop.py FOLDER --dtype autocast --batch 1 --accumulate 4 --length 1024 --steps 3 --threads 2
prints one JSON object: tokens_per_second (median step, the first one left out), peak_rss_bytes.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from torch_side import ATTENTION
from transformers import AutoModelForCausalLM

LORA = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=ATTENTION, task_type="CAUSAL_LM")


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--dtype", choices=("autocast", "bf16", "fp32"), required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = adapted_model(options.student, options.dtype)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.0)
    rows = torch.randint(model.config.vocab_size, (options.accumulate, options.batch, options.length))
    report(options, [step(model, trained, optimizer, rows, options.dtype) for _ in range(options.steps + 1)])


def argument_parser(description):
    """What both timed loops are told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("student", help="a Hugging Face folder")
    parser.add_argument("--batch", type=int, required=True, help="rows of a pass")
    parser.add_argument("--accumulate", type=int, required=True, help="passes of a step")
    parser.add_argument("--length", type=int, required=True, help="tokens of a row")
    parser.add_argument("--steps", type=int, required=True, help="steps that are timed, after one that is not")
    parser.add_argument("--threads", type=int, required=True)
    return parser


def adapted_model(folder, dtype):
    """`autocast` keeps the frozen weights in bf16, which saves casting them each time, and the adapter in f32; `bf16`
    keeps both in bf16; `fp32` both in f32.
    """
    weights = torch.float32 if dtype == "fp32" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=weights, attn_implementation="sdpa", use_cache=False)
    return get_peft_model(model, LORA, autocast_adapter_dtype=dtype != "bf16").train()


def step(model, trained, optimizer, rows, dtype):
    """One optimiser step; returns its seconds."""
    start = time.perf_counter()
    for ids in rows:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "autocast"):
            loss = model(input_ids=ids, labels=ids).loss / len(rows)
        loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 0.3)
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - start


def report(options, seconds):
    tokens = options.batch * options.accumulate * options.length
    peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rate = tokens / statistics.median(seconds[1:])
    print(json.dumps({"tokens_per_second": rate, "peak_rss_bytes": peak_rss_bytes, "step_seconds": seconds}))


if __name__ == "__main__":
    main()
