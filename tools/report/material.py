"""Two evaluations of 2,000 problems each and a run of training, made up: what a report of that size is checked with. Among the answers
is everything that a hostile teacher could write into a page, and mathematics, some of it broken."""

import json
import math
import random

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<style>*{display:none}</style><svg onload=document.title='owned'>",
    "a\u0000b\u001b[31mred\u0007 \u202ereversed\u202c \u2067isolated \ufeff\u200b",
    "\u0338struck \u0301" + "e" + "\u0301" * 200,
    "]]><!-- <iframe src=https://example.org> javascript:alert(1) " + "W" * 900,
]
MATHEMATICS = [
    r"By the formula $x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}$ we get \boxed{\frac{3}{4}}.",
    r"\[\sum_{k=1}^{n} k^2 = \frac{n(n+1)(2n+1)}{6}\] and so \(n \le 12\); it costs $5 or $6.",
    r"\begin{align*} 2x + y &= 7 \\ x - y &= 2 \end{align*} thus $$A = \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}.$$",
    r"$\unknowncommand{x}$, \(never closed, $\text{</mtext><img src=x onerror=document.title='owned'>}$",
    "$" + r"\sqrt{" * 200 + "x" + "}" * 200 + "$",
]
TASKS = [("two-dice", 0.03, 0.71), ("linear-equations", 0.22, 0.58), ("ages", 0.11, 0.40), ("gcd-lcm", 0.35, 0.37),
         ("fractions", 0.30, 0.17), ("calendar", 0.05, 0.06), ("base-conversion", 0.02, 0.33), ("sequences", 0.41, 0.64)]


def interval(share, n):
    half = 1.96 * math.sqrt(share * (1 - share) / n)
    return [max(0.0, share - half), min(1.0, share + half)]


def evaluation(folder, name, which, problems):
    """One results folder; `which` is 0 for the shares before and 1 for those after."""
    draw = random.Random(which)
    folder.mkdir(parents=True)
    tasks, lines = [], []
    per_task = problems // len(TASKS)
    for task, *shares in TASKS:
        right, lengths, cut = 0, [], 0
        for index in range(per_task):
            correct = draw.random() < shares[which]
            thinking = max(1, int(draw.gauss([60, 140][which], 30)))
            truncated = not correct and draw.random() < [0.3, 0.05][which]
            evil = HOSTILE[index % len(HOSTILE)] if index < 12 else ""
            formula = MATHEMATICS[index % len(MATHEMATICS)]
            steps = " ".join(f"Step {n}: {draw.randint(2, 99)} + {draw.randint(2, 99)} is what we need." for n in range(thinking // 10))
            lines.append({
                "task": task, "problem": f"{task}-{index:04}", "sample": 0, "seed": index,
                "question": f"A question about {task}, number {index}: how many of the {index + 7} ways remain? {formula if index % 3 == 0 else ''} {evil}",
                "gold": str(index % 36), "reasoning": f"Let me think. {formula} {steps} {evil}",
                "content": f"{formula} The answer is $\\boxed{{{index % 36 + (not correct)}}}$. {evil}",
                "extracted": None if truncated else str(index % 36 + (not correct)), "correct": correct,
                "truncated": truncated, "looping": truncated and index % 3 == 0, "no_answer": truncated, "prompt_tokens": 40,
                "thinking_tokens": thinking, "completion_tokens": thinking + 20, "finish_reason": "length" if truncated else "stop"})
            right, cut = right + correct, cut + truncated
            lengths.append(thinking)
        lengths.sort()
        share = right / per_task
        tasks.append({
            "name": task, "n": per_task, "k": 1, "pass_at_1": share, "ci95": interval(share, per_task), "maj_at_k": share,
            "pass_at_k": share, "truncated": cut / per_task, "looping": cut / per_task / 3, "no_answer": cut / per_task,
            "undecided": 0.0, "mean_thinking_tokens": sum(lengths) / per_task,
            "thinking_tokens_percentiles": {p: lengths[int(per_task * int(p) / 100)] for p in ("50", "90", "99")},
            "mean_completion_tokens": sum(lengths) / per_task + 20, "tokens_per_second": 412.0, "fingerprint": task})
    results = {"version": "0.1.0", "date": "2026-11-24T12:00:00Z", "machine": "made up", "commit": "0123abc",
               "command": ["aludel", "eval", "--model", f"/models/{name}.gguf", "--tasks", "gsm8k", "--output-dir", folder.name],
               "model": {"path": f"models/{name}", "name": name},
               "settings": {"samples": 1, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 256, "seed": 0, "dtype": "bf16"},
               "tasks": tasks}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def run(folder, steps=1200, every=200):
    """A run folder: losses that fall, a cosine learning rate, gradients that calm down, an evaluation now and then."""
    draw = random.Random(2)
    folder.mkdir(parents=True)
    lines = []
    for step in range(1, steps + 1):
        part = step / steps
        loss = 0.35 + 1.6 * math.exp(-5 * part)
        rate = 2e-3 * min(1.0, step / 40) * 0.5 * (1 + math.cos(math.pi * part))
        lines.append({"step": step, "epoch": 3 * part, "loss": loss * (1 + draw.gauss(0, 0.08)), "grad_norm": 30 * math.exp(-4 * part) * math.exp(draw.gauss(0, 0.3)),
                      "learning_rate": rate, "tokens": 900 + draw.randint(-200, 200), "supervised_tokens": 500, "seconds": 0.4 + 0.02 * draw.random(), "rows": [step]})
        if step % every == 0:
            lines.append({"step": step, "epoch": 3 * part, "eval_loss": loss + 0.05, "eval_supervised_tokens": 5000, "eval_seconds": 2.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    counts = {"rows": 1130, "truncated": 0, "too_long": 24, "unsupervised": 3, "tokens": 1, "supervised_tokens": 1,
              "records": {"rows": 1157, "bad": []}}
    session = {"version": "0.1.0", "commit": "0123abc", "processor": "made up", "threads": 2, "date": "2026-11-24T12:00:00Z",
               "command": ["aludel", "train", "--student", "/models/student.gguf", "--data", "/data/train.jsonl", "--output-dir", "run"],
               "resumed_at": 0, "train_rows": 1073, "eval_rows": 57, "outcomes": counts, "trained_parameters": 4884480}
    (folder / "sessions.jsonl").write_text(json.dumps(session) + "\n")
    (folder / "recipe.toml").write_text(
        '[student]\nmodel = "/models/student.gguf"\ndtype = "bf16"\n[lora]\nr = 16\nalpha = 32.0\ntarget_modules = "all-linear"\n'
        '[train]\nlearning_rate = 2e-3\nlr_scheduler_type = "cosine"\nnum_train_epochs = 3.0\nseed = 42\n'
        'per_device_train_batch_size = 4\ngradient_accumulation_steps = 2\n[data]\nfiles = ["/data/train.jsonl"]\n')
