"""The rows that checks return, and how they are shown and kept."""

import datetime
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import version


HEADER = ("check", "what", "value", "bar")


@dataclass
class Row:
    """One measured value beside its bar. `passed` is None where there is no bar, only a figure to compare with."""

    check: str
    name: str
    value: float | str
    bar: str
    passed: bool | None


def at_most(name, value, bar):
    """NaN fails, as no comparison with it holds."""
    return Row("", name, float(value), f"≤ {bar:.4g}", bool(value <= bar))


def at_least(name, value, bar):
    return Row("", name, float(value), f"≥ {bar:.6g}", bool(value >= bar))


def holds(name, value, passed, bar):
    return Row("", name, str(value), bar, bool(passed))


def figure(name, value):
    return Row("", name, float(value), "", None)


def text_table(rows):
    return aligned([(*HEADER, ""), *(cells(row) for row in rows)])


def aligned(lines):
    """Lines of cells in columns, as a terminal shows them."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def write_results(folder, facts, rows):
    """Writes parity-DATE.json and .md, and returns the path without its ending."""
    lines = [*opening("Parity with transformers and PEFT", facts), *markdown_table((*HEADER, ""), map(cells, rows))]
    return keep(folder, "parity", facts | {"rows": [asdict(row) for row in rows]}, lines)


def keep(folder, name, content, lines):
    """Writes NAME-DATE.json and .md, and returns the path without its ending."""
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, f"{name}-{content['date']}")
    with open(stem + ".json", "w") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.write("\n")
    with open(stem + ".md", "w") as file:
        file.write("\n".join(lines) + "\n")
    return stem


def opening(title, facts):
    """The heading of a page of results, and what they were measured on."""
    lines = [f"# {title}, {facts['date']}", ""]
    lines += [f"- {key}: {value}" for key, value in facts.items() if key not in ("date", "versions")]
    return [*lines, "- versions: " + ", ".join(f"{name} {number}" for name, number in facts["versions"].items()), ""]


def markdown_table(header, lines):
    bars = ["---"] * len(header)
    return [f"| {' | '.join(line)} |" for line in (header, bars, *lines)]


def machine_facts(binary, student, packages=("torch", "transformers", "peft", "gguf")):
    """What a reader needs to judge the numbers, without any path of this machine; versions of those Python packages."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{processor()}, {os.cpu_count()} logical cores, {memory_gib()} GiB, {platform.system()}",
        "student": os.path.basename(student),
        "aludel": first_line([binary, "--version"]),
        "commit": first_line(
            ["git", "-C", os.path.dirname(os.path.abspath(__file__)), "describe", "--always", "--dirty"]
        ),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in packages},
    }


def cells(row):
    return (row.check, row.name, shown(row.value), row.bar, mark(row))


def shown(value):
    return value if isinstance(value, str) else f"{value:.6g}"


def mark(row):
    return {True: "pass", False: "FAIL", None: ""}[row.passed]


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory_gib():
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def first_line(command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout.splitlines() or ["unknown"])[0]
