"""Writes the losses of students against teachers with their gradients, as PyTorch computes them: losses.py OUT.txt

Logits and hidden states are functions of counters, as `aludel_kernels::rng` has them, so that the fixture need not hold them. See README.md for the
line format. Needs `torch` alone; runs on the processor, in f64 from inputs in f32: in f32 small elements of gradients are off by more
than the test allows.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F

ROWS = 2
ROW_WEIGHTS = [1.0, 0.5]
# Columns of the student and of the teacher beyond the vocabulary.
PADDING = [3, 1]
DIVERGENCES = [
    ("forward_kl", 0.0),
    ("reverse_kl", 0.0),
    ("jsd", 0.1),
    ("jsd", 0.5),
    ("jsd", 0.9),
    ("skew_kl", 0.1),
    ("skew_kl", 0.5),
    ("total_variation", 0.0),
]


def main(path):
    torch.set_num_threads(1)
    lines = []
    for vocab in [37, 1001, 4099]:
        for temperature in [1.0, 2.0]:
            for name, constant in DIVERGENCES:
                for teacher in ["dense", "top_k"]:
                    lines.append(case(vocab, temperature, name, constant, teacher))
            lines.append(case(vocab, temperature, "forward_kl", 0.0, "sampled"))
    for width in [37, 576]:
        lines.extend(hidden(width, name) for name in ["normalised_mse", "cosine"])
    with open(path, "w") as file:
        file.write(f"# Written by tools/golden/losses.py with torch {torch.__version__}: see there.\n")
        file.write("\n".join(lines) + "\n")


def case(vocab, temperature, name, constant, known):
    student = logits(1, vocab + PADDING[0]).double().requires_grad_()
    teacher = logits(2, vocab + PADDING[1]).double()
    x, y = student[:, :vocab] / temperature, teacher[:, :vocab] / temperature
    if known == "sampled":
        per_row = sampled(x, vocab)
    elif known == "dense":
        per_row = divergence(name, constant, F.log_softmax(y, -1), F.log_softmax(x, -1))
    else:
        k = min(16, vocab // 4)
        ids = y.topk(k).indices
        per_row = divergence(name, constant, classes(y, ids), classes(x, ids))
    return line([known, name, constant, temperature, vocab], student, per_row * temperature**2)


def hidden(width, name):
    student, teacher = logits(1, width).double().requires_grad_(), logits(2, width).double()
    if name == "cosine":
        per_row = 1 - F.cosine_similarity(student, teacher, dim=-1)
    else:
        student_unit, teacher_unit = (F.rms_norm(x, (width,), eps=0.0) for x in (student, teacher))
        per_row = (student_unit - teacher_unit).square().mean(-1)
    return line(["hidden", name, 0.0, 1.0, width], student, per_row)


def line(names, student, per_row):
    losses = per_row * torch.tensor(ROW_WEIGHTS, dtype=torch.float64)
    losses.sum().backward()
    gradient = student.grad
    # some columns of each row, the first and the last among them, and the norms of all
    count = gradient.shape[1]
    columns = sorted({*range(0, count, 1 + count // 40), count - 1})
    fields = [losses.detach(), gradient.norm(dim=1), gradient[:, columns]]
    return " ".join([*map(str, names), *map(hexadecimal, fields)])


def divergence(name, constant, log_p, log_q):
    def kl(log_a, log_b):
        return (log_a.exp() * (log_a - log_b)).sum(-1)

    def mixture(share):
        return torch.logaddexp(log_p + np.log(share), log_q + np.log1p(-share))

    if name == "forward_kl":
        return kl(log_p, log_q)
    if name == "reverse_kl":
        return kl(log_q, log_p)
    if name == "jsd":
        log_m = mixture(constant)
        return constant * kl(log_p, log_m) + (1 - constant) * kl(log_q, log_m)
    if name == "skew_kl":
        return kl(log_p, mixture(constant))
    return 0.5 * (log_p.exp() - log_q.exp()).abs().sum(-1)


def classes(scaled, ids):
    """Log-probabilities of the listed tokens and of all others together."""
    others = scaled.scatter(1, ids, -torch.inf)
    tail = torch.logsumexp(others, -1, keepdim=True)
    return F.log_softmax(torch.cat([scaled.gather(1, ids), tail], -1), -1)


def sampled(scaled, vocab):
    draws = 12
    numbers = torch.arange(ROWS * draws)
    ids = (numbers * numbers * 7 + 3) % vocab
    weights = torch.from_numpy(uniform(3, numbers.numpy())).double()
    log_q = F.log_softmax(scaled, -1).gather(1, ids.view(ROWS, draws))
    return -(weights.view(ROWS, draws) * log_q).sum(-1)


def logits(key, columns):
    """Six times the sum of four uniform numbers less 2, for each element; all in f32."""
    count = ROWS * columns
    draws = uniform(key, np.arange(4 * count)).reshape(count, 4)
    values = np.float32(6) * ((draws[:, 0] + draws[:, 1]) + (draws[:, 2] + draws[:, 3]) - np.float32(2))
    return torch.from_numpy(values.reshape(ROWS, columns))


def uniform(key, index):
    mixed = mix(np.uint64(key), index.astype(np.uint64))
    return (mixed >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def mix(key, value):
    with np.errstate(over="ignore"):
        z = key + np.uint64(0x9E3779B97F4A7C15) + value * np.uint64(0xD1B54A32D192ED03)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hexadecimal(tensor):
    return tensor.contiguous().numpy().astype("<f4").tobytes().hex()


if __name__ == "__main__":
    main(*sys.argv[1:])
