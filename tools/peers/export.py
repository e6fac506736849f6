"""Exported GGUF files in llama.cpp: ids of texts, greedy answers, and the perplexity of each quantisation beside that of llama.cpp's own
quantiser. What Aludel itself says of a file is its gate's matter, and not repeated here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy
from safetensors.numpy import load_file

import llama_side
from processes import Recorded, last_json

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = ("llama-completion", "llama-perplexity", "llama-quantize", "llama-tokenize")
PARTS = ("ids", "greedy", "perplexity")
TEXTS = 200
NEW_TOKENS = 32
# Where the two most probable tokens are closer than this, either may come.
CLOSE_LOGITS = 0.05
# By how much a file's perplexity may be above that of llama.cpp's file of the same type.
BARS = {"q8_0": 0.005, "q6_k": 0.005, "q5_k_m": 0.005, "q4_k_m": 0.01, "q4_1": 0.01, "q4_0": 0.01}
PROMPTS = (
    "The capital of France is",
    "Q: What is 17 * 24?\nA:",
    "def fibonacci(n):\n",
    "Once upon a time, in a small village by the sea,",
    "The three states of matter are",
    "Translate to German: Good morning, how are you?\n",
    "1, 1, 2, 3, 5, 8,",
    "To make a cup of tea, first",
    "| name | age |\n|---|---|\n| Ada | 36 |\n| Alan |",
    "Water boils at 100 degrees Celsius because",
)


def main():
    arguments = parsed()
    recorded = Recorded()
    tools = arguments.tools or llama_side.build(arguments.llama, TOOLS)
    results, failed = [], 0
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        for source in arguments.model:
            peers = Peers(arguments, recorded, tools, source, work)
            for part in arguments.only:
                for row in getattr(peers, part)():
                    failed += not row["passed"]
                    results.append(row)
                    print(f"{'ok    ' if row['passed'] else 'FAILED'} {row['model']}: {row['what']}: {row['found']}", flush=True)
    if arguments.results:
        with open(arguments.results, "w", encoding="utf-8") as file:
            json.dump({"llama_cpp": llama_side.VERSION, "rows": results, "commands": recorded.commands}, file, indent=1)
    sys.exit(1 if failed else 0)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", nargs="+", required=True, help="GGUF files or model folders to export")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--types", nargs="+", choices=list(BARS), default=list(BARS), help="quantisations of the part perplexity")
    parser.add_argument("--chunks", type=int, default=16, help="chunks of 512 tokens of the part perplexity")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--aludel", default=os.path.join(ROOT, "target", "release", "aludel"))
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    parser.add_argument("--llama", default=os.environ.get("ALUDEL_PEERS_LLAMA", os.path.join(cache, "aludel", "llama.cpp")))
    parser.add_argument("--tools", help="folder of llama.cpp's built tools, in place of a build of our own")
    parser.add_argument("--work", help="where files are written, some times the size of the largest model")
    parser.add_argument("--results", help="JSON file to write")
    return parser.parse_args()


def documents():
    """The texts of this repository's documents, a paragraph each."""
    paths = [os.path.join(ROOT, "README.md"), *sorted(os.path.join(ROOT, "docs", name) for name in os.listdir(os.path.join(ROOT, "docs")))]
    texts = []
    for path in paths:
        if path.endswith(".md"):
            with open(path, encoding="utf-8") as file:
                texts += [text.strip() for text in file.read().split("\n\n")]
    return [text for text in texts if text]


class Peers:
    """One model, exported, on both sides."""

    def __init__(self, arguments, recorded, tools, source, work):
        self.arguments, self.recorded, self.tools, self.source = arguments, recorded, tools, source
        self.work = work
        self.name = os.path.basename(source.rstrip("/"))

    def llama(self, tool, *rest):
        return self.recorded.output_of([os.path.join(self.tools, tool), *rest])

    def aludel(self, *rest):
        return self.recorded.output_of([self.arguments.aludel, *rest])

    def exported(self, kind):
        target = os.path.join(self.work, f"{self.name}-{kind}.gguf")
        if not os.path.exists(target):
            found = last_json(self.aludel("export", "--model", self.source, "--type", kind, "--output", target, "--json"))
            assert found["parity"] is not None
        return target

    def row(self, what, found, passed):
        return {"model": self.name, "what": what, "found": found, "passed": bool(passed)}

    def llama_ids(self, model, text):
        """The ids of a text in llama.cpp, without the token before it."""
        path = os.path.join(self.work, "text.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        printed = self.llama("llama-tokenize", "-m", model, "-f", path, "--ids", "--no-bos", "--no-parse-special", "--no-escape", "--log-disable")
        return json.loads(printed)

    def ids(self):
        """Each text in llama.cpp from the exported file, and in Aludel from the source."""
        model = self.exported("f16")
        texts = [text[:400] for text in documents()][:TEXTS]
        rows = os.path.join(self.work, "texts.jsonl")
        with open(rows, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        found = last_json(self.aludel("inspect", "--student", self.source, "--data", rows, "--rows", len(texts), "--json"))
        same, parted = 0, None
        for text, row in zip(texts, found["rows"], strict=True):
            ours, theirs = row["ids"], self.llama_ids(model, text)
            # ours begin with the token before a text where the model has one, and end with the one behind it
            is_same = theirs in (ours[:-1], ours[1:-1])
            same += is_same
            parted = parted or (None if is_same else text)
        yield self.row("ids of texts", f"{same} of {len(texts)} the same" + (f", not {parted!r}" if parted else ""), same == len(texts))

    def greedy(self):
        """llama.cpp's greedy answers from the exported file, judged by the source's own logits in Aludel."""
        for kind in ("f32", "f16"):
            yield self.greedy_of(kind)

    def greedy_of(self, kind):
        model = self.exported(kind)
        identical, close, parted = 0, 0, []
        for prompt in PROMPTS:
            settings = ["-n", NEW_TOKENS, "--temp", 0, "-no-cnv", "--no-warmup", "-fa", "off", "-ctk", "f32", "-ctv", "f32", "-c", 512]
            answer = self.llama("llama-completion", "-m", model, "-p", prompt, *settings, "--no-display-prompt", "--simple-io", "--no-escape", "--log-disable", "-t", self.arguments.threads)
            given = self.with_beginning(model, prompt)
            ids = given[:-len(self.llama_ids(model, prompt))] + self.llama_ids(model, prompt + answer)
            if ids[: len(given)] != given:
                parted.append(f"{prompt!r}: the answer changes the prompt's ids")
                continue
            ids = ids[: len(given) + NEW_TOKENS]
            gaps = self.gaps(ids, len(given))
            identical += max(gaps, default=0) == 0
            close += 0 < max(gaps, default=0) < CLOSE_LOGITS
            if max(gaps, default=0) >= CLOSE_LOGITS:
                at = next(place for place, gap in enumerate(gaps) if gap >= CLOSE_LOGITS)
                parted.append(f"{prompt!r}: token {at} is {gaps[at]:.3f} below the best")
        found = f"{identical} of {len(PROMPTS)} identical, {close} with tokens within {CLOSE_LOGITS} of the best" + "".join(f"; {text}" for text in parted)
        return self.row(f"greedy tokens, {kind}", found, identical + close == len(PROMPTS))

    def with_beginning(self, model, prompt):
        path = os.path.join(self.work, "prompt.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(prompt)
        return json.loads(self.llama("llama-tokenize", "-m", model, "-f", path, "--ids", "--no-escape", "--log-disable"))

    def gaps(self, ids, first):
        """By how much each answered token is below the best in the source's logits."""
        path = os.path.join(self.work, "logits.safetensors")
        self.aludel("logits", "--model", self.source, "--ids", ",".join(map(str, ids)), "--output", path, "--overwrite")
        logits = load_file(path)["logits"]
        places = numpy.arange(first - 1, len(ids) - 1)
        best = logits[places].max(axis=1)
        return [float(gap) for gap in best - logits[places, [ids[place + 1] for place in places]]]

    def perplexity(self):
        """Our file of a type, and llama-quantize's of the same f32 file."""
        text = os.path.join(self.work, "documents.txt")
        with open(text, "w", encoding="utf-8") as file:
            file.write("\n\n".join(documents()))
        whole = self.exported("f32")
        base = self.perplexity_of(whole, text)
        for kind in self.arguments.types:
            theirs = os.path.join(self.work, f"{self.name}-{kind}-llama.gguf")
            self.llama("llama-quantize", whole, theirs, kind.upper())
            ours = os.path.join(self.work, f"{self.name}-{kind}-ours.gguf")
            self.aludel("export", "--model", whole, "--type", kind, "--output", ours, "--json")
            found = [self.perplexity_of(path, text) for path in (ours, theirs)]
            same = self.types_of(ours) == self.types_of(theirs)
            for path in (ours, theirs):
                os.remove(path)
            ratio = found[0] / found[1] - 1
            words = f"{found[0]:.4f} against {found[1]:.4f} ({ratio:+.2%}), f32 {base:.4f}" + ("" if same else "; another mixture of types")
            yield self.row(f"perplexity, {kind}", words, ratio <= BARS[kind] and same)

    def types_of(self, path):
        from gguf import GGUFReader

        return {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(path).tensors}

    def perplexity_of(self, model, text):
        command = [os.path.join(self.tools, "llama-perplexity"), "-m", model, "-f", text, "-c", "512", "--chunks", str(self.arguments.chunks)]
        done = subprocess.run([*command, "-t", str(self.arguments.threads)], capture_output=True, text=True, check=True)
        return float(re.search(r"Final estimate: PPL = ([0-9.]+)", done.stdout + done.stderr).group(1))


if __name__ == "__main__":
    main()
