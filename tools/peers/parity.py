"""Compares the aludel binary with transformers and PEFT, prints a table, and keeps it under bench/results.

One function a check; `--only NAME` runs single ones. Exits with 1 if any bar is missed or any check breaks.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback

# Before any library reads it: everything here is local, and nothing may be looked up elsewhere.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import checks_adapters
import checks_events
import checks_files
import checks_numbers
import checks_runs
import transformers
from table import holds, machine_facts, text_table, write_results
from world import World

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKS = {
    "logits-f32": checks_numbers.logits_f32,
    "logits-nf4": checks_numbers.logits_nf4,
    "logits-bf16": checks_numbers.logits_bf16,
    "gradients-f32": checks_numbers.gradients_f32,
    "gradients-bf16": checks_numbers.gradients_bf16,
    "gradients-dora": checks_numbers.gradients_dora,
    "gradients-rows-tied": checks_numbers.gradients_rows_tied,
    "gradients-rows-untied": checks_numbers.gradients_rows_untied,
    "loss-curve-f32": checks_numbers.loss_curve_f32,
    "loss-curve-bf16": checks_numbers.loss_curve_bf16,
    "adapter-in-peft": checks_files.adapter_in_peft,
    "adapter-in-auto-class": checks_files.adapter_in_auto_class,
    "adapter-kinds": checks_adapters.adapter_kinds,
    "merged-in-shards": checks_adapters.merged_in_shards,
    "merged-in-transformers": checks_files.merged_in_transformers,
    "added-tokens": checks_files.added_tokens,
    "threads": checks_runs.threads,
    "passes": checks_runs.passes,
    "kill-resume": checks_runs.kill_resume,
    "tensorboard": checks_events.tensorboard,
}


def main():
    options = parse_arguments()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="aludel-parity-") as temporary:
        world = World(options.aludel, options.student, options.data, options.work or temporary, options.seed)
        rows = [row for name in options.only or CHECKS for row in run_check(name, world, options.trace)]
    print(text_table(rows))
    if not options.only or options.results:
        folder = options.results or os.path.join(REPOSITORY, "bench", "results")
        stem = write_results(folder, machine_facts(options.aludel, options.student), rows)
        print(f"\nkept as {os.path.relpath(stem)}.md and .json")
    failed = sum(row.passed is False for row in rows)
    print(f"\n{failed} of {len(rows)} rows failed" if failed else f"\nall {len(rows)} rows passed")
    sys.exit(1 if failed else 0)


def run_check(name, world, trace):
    """A check that breaks is a row that failed; the others still run."""
    start = time.monotonic()
    try:
        rows = CHECKS[name](world)
    except Exception as error:
        if trace:
            traceback.print_exc()
        # The table is kept for others: no path of this machine belongs in it.
        words = f"{type(error).__name__}: {error}".replace(world.work, "WORK").replace("\n", " ")
        rows = [holds("ran to its end", words[:300], False, "yes")]
    for row in rows:
        row.check = name
    print(f"{name}: {len(rows)} rows in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return rows


def parse_arguments():
    parser = argparse.ArgumentParser(prog="parity", description=__doc__)
    parser.add_argument(
        "--aludel", default=os.path.join(REPOSITORY, "target", "release", "aludel"), help="the built binary"
    )
    parser.add_argument(
        "--student", default=os.environ.get("ALUDEL_TEST_STUDENT"), help="a GGUF file; or ALUDEL_TEST_STUDENT"
    )
    parser.add_argument("--data", help="a JSONL file for texts and training rows, in place of the built-in ones")
    parser.add_argument("--only", nargs="+", choices=CHECKS, metavar="CHECK", help=f"some of: {', '.join(CHECKS)}")
    parser.add_argument("--work", help="keep the converted student (3 GB) here for the next time; else it is temporary")
    parser.add_argument("--results", help="where the table is kept; with --only it is kept only if this is given")
    parser.add_argument("--seed", type=int, default=1, help="decides the moments of the kills")
    parser.add_argument("--trace", action="store_true", help="print the Python traceback of a check that breaks")
    options = parser.parse_args()
    if not options.student or not os.path.isfile(options.student):
        parser.error(f"no student at {options.student}: give --student FILE.gguf or set ALUDEL_TEST_STUDENT")
    if not os.access(options.aludel, os.X_OK):
        parser.error(f"no binary at {options.aludel}: run `cargo build --release`, or give --aludel PATH")
    return options


if __name__ == "__main__":
    main()
