"""Why we and math-verify, or we and a trace's label, disagree. Each entry was read and judged by hand."""


def of_class(name, ending="", why=""):
    """Pairs of a class whose answer ends so."""
    return (lambda pair: pair["class"] == name and pair["answer"].rstrip().endswith(ending), why)


def with_answer(name, part, why):
    """Pairs of a class whose answer holds a part."""
    return (lambda pair: pair["class"] == name and part in pair["answer"], why)


# The first that matches explains.
PEER = [
    with_answer("own gold", r"\boxed{81} and", "two boxes in one sentence are two solutions; math-verify joins them to 81256"),
    with_answer("own gold", "or } x >", "an inequality is its interval; math-verify compares intervals with inequalities of one part only"),
    (lambda pair: pair["class"] == "own gold" and r",\!" in pair["gold"], "thousands separators below a fraction line, which math-verify does not read"),
    of_class("worked solution", why='the answer stands behind ####; math-verify follows the words "the answer" in the solution\'s middle'),
    of_class("integers", ".}", "a full stop inside the box; math-verify reads nothing"),
    of_class("mixed-numbers", why="1 1/5 is a mixed number; math-verify multiplies the two"),
    of_class("thousands-separators", why="78\\,976 has a thin space; math-verify reads a product or nothing"),
    of_class("scientific-notation", why="math-verify computes 1.1·10² in floating point, which is not exactly 110"),
    of_class("repeating-decimals", why="math-verify reads no bar over repeating digits"),
    of_class("trigonometry", why="30° is no number of radians; math-verify takes it for one"),
    of_class("degrees", why="math-verify reads \\circ and not the character °"),
    of_class("complex-numbers", why="math-verify takes i for a symbol like any other where it is not alone"),
    of_class("prose", why="the last box counts; math-verify takes both as a set"),
]

SPELLING = "right: the same value; the label compares spelling (spaces, \\dfrac and \\frac, \\left)"
SEPARATOR = "right: the same number; the gold writes thousands separators"
UNIT = "right: the gold names the unit, the answer leaves it out or in words"
NAME = "right: the gold names the variable, which was asked for"

LABELS = {
    "ta-math-problem_1338-0": UNIT,
    "ta-math-problem_1907-0": SEPARATOR,
    "ta-math-problem_2817-0": SPELLING,
    "ta-math-problem_3456-0": SPELLING,
    "ta-math-problem_3679-0": "right: both solutions are there, each in its box",
    "ta-math-problem_3758-0": SPELLING,
    "ta-math-problem_3763-0": SPELLING,
    "ta-math-problem_4415-0": SPELLING,
    "ta-math-problem_4467-0": SPELLING,
    "ta-math-problem_4646-0": "right: the inequality describes the gold's intervals",
    "ta-math-problem_5207-0": UNIT,
    "ta-math-problem_5417-0": SEPARATOR,
    "ta-math-problem_5608-0": SEPARATOR,
    "ta-math-problem_5637-0": UNIT,
    "ta-math-problem_584-0": NAME,
    "ta-math-problem_5973-0": "right: a percentage was asked for, and the gold leaves the sign out",
    "ta-math-problem_6254-0": UNIT,
    "ta-math-problem_6794-0": SPELLING,
    "ta-math-problem_7179-0": UNIT,
    "ta-math-problem_767-0": NAME,
    "ta-math-problem_792-0": SPELLING,
}
