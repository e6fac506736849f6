"""One row of the table: readings beside a bar and an aim, and how rows are shown and kept."""

from dataclasses import dataclass
from statistics import median

from table import aligned, keep, markdown_table, opening

HEADER = ("row", "what", "bar", "aim", "ours", "theirs", "ratio", "single rounds", "met")


@dataclass
class SpeedRow:
    """Readings of one thing, one a round. Either ours are judged (`at_least`, `at_most`) or the ratio of the medians,
    ours by theirs (`ratio_at_least`); the aim lies further in the same direction. `error` says why there are none.
    """

    what: str
    unit: str = ""
    ours: list[float] | None = None
    theirs: list[float] | None = None
    at_least: float | None = None
    at_most: float | None = None
    ratio_at_least: float | None = None
    aim: float | None = None
    error: str | None = None
    row: str = ""

    def ratio(self):
        return median(self.ours) / median(self.theirs) if self.ours and self.theirs else None

    def round_ratios(self):
        """Ours by theirs in each round alone: how far they lie apart says how much the ratio is worth."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)] if self.theirs else []

    def met(self):
        """`aim`, `bar` or `NO`; a NaN meets nothing."""
        if self.error or not self.reaches(self.bar()):
            return "NO"
        return "aim" if self.aim is not None and self.reaches(self.aim) else "bar"

    def reaches(self, limit):
        judged = median(self.ours) if self.ratio_at_least is None else self.ratio()
        return judged >= limit if self.at_most is None else judged <= limit

    def bar(self):
        return next(bar for bar in (self.at_least, self.at_most, self.ratio_at_least) if bar is not None)

    def cells(self):
        if self.error:
            return (self.row, self.what, "", "", "", "", "", self.error, self.met())
        sign, unit = ("≤" if self.at_most is not None else "≥"), self.unit
        limit_unit = "×" if self.ratio_at_least is not None else f" {unit}".rstrip()
        ratio, rounds = self.ratio(), self.ours if self.ratio_at_least is None else self.round_ratios()
        return (
            self.row,
            self.what,
            f"{sign} {self.bar():.4g}{limit_unit}",
            "" if self.aim is None else f"{sign} {self.aim:.4g}{limit_unit}",
            f"{median(self.ours):.4g} {unit}".rstrip(),
            "" if self.theirs is None else f"{median(self.theirs):.4g} {unit}".rstrip(),
            "" if ratio is None else f"{ratio:.3g}",
            f"{min(rounds):.3g} to {max(rounds):.3g}",
            self.met(),
        )

    def as_json(self):
        sides = {"ours": self.ours, "theirs": self.theirs, "ratio": self.ratio(), "round_ratios": self.round_ratios()}
        limits = {"at_least": self.at_least, "at_most": self.at_most, "ratio_at_least": self.ratio_at_least}
        named = {"row": self.row, "what": self.what, "unit": self.unit}
        return {**named, **limits, "aim": self.aim, **sides, "met": self.met(), "error": self.error}


def text_table(rows):
    return aligned([HEADER, *(row.cells() for row in rows)])


def write_results(folder, facts, rows, readings, commands):
    """Writes speed-DATE.json and .md, and returns the path without its ending."""
    title = "Speed beside PyTorch + PEFT, TRL and llama.cpp"
    lines = [*opening(title, facts), *markdown_table(HEADER, (row.cells() for row in rows))]
    lines += ["", "Ours and theirs are medians of rounds taken in turns; the ratio is one median by the other."]
    lines += [*breakdown_lines(readings), "", "## Commands", "", "```", *commands, "```"]
    kept = facts | {"rows": [row.as_json() for row in rows], "readings": readings, "commands": commands}
    return keep(folder, "speed", kept, lines)


def breakdown_lines(readings):
    """Where a step of ours goes, from the last round of each row that trains."""
    last = {(one["row"], one["contender"]): one["breakdown_ms"] for one in readings if "breakdown_ms" in one}
    if not last:
        return []
    kinds = list(next(iter(last.values())))
    table = [(f"{row}, {contender}", *(f"{ms[kind]:.0f}" for kind in kinds)) for (row, contender), ms in last.items()]
    return ["", "## A step of ours, in milliseconds", "", *markdown_table(("row", *kinds), table)]
