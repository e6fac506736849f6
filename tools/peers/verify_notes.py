"""Why we and math-verify, or we and a trace's label, disagree. Each entry was read and judged by hand."""


def of_class(name, ending="", why=""):
    """Pairs of a class whose answer ends so."""
    return (lambda pair: pair["class"] == name and pair["answer"].rstrip().endswith(ending), why)


def with_answer(name, part, why):
    """Pairs of a class whose answer holds a part."""
    return (lambda pair: pair["class"] == name and part in pair["answer"], why)


def both(name, gold, answer, why):
    """Pairs of a class whose gold and answer hold these parts."""
    return (lambda pair: pair["class"] == name and gold in pair["gold"] and answer in pair["answer"], why)


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
    both("times", "PM", "AM", "morning and evening; math-verify drops AM and PM and divides hours by minutes"),
    both("times", "PM", "", "which half of the day the answer means is not said, so that nobody knows; math-verify drops PM"),
    both("times", "", "PM", "hours from 13 on tell the half of the day; math-verify divides 20 by 20"),
    of_class("times", why="minutes with a zero in front are no ratio; math-verify divides both"),
    of_class("ratios", why="24:21 may also be a time of day, so that nobody knows; math-verify divides"),
    of_class("finite-sets", why="math-verify leaves ∩ and ∖ of finite sets as they stand and compares them unevaluated"),
    of_class("joined-intervals", why="math-verify leaves this intersection as it stands and compares it unevaluated"),
    of_class("complements", why="x ≠ a is a set; math-verify compares relations with sets only under allow_set_relation_comp, off by default"),
    with_answer("conditions", "\\mid", "math-verify takes the bound of {x | x > a} for the whole answer"),
    with_answer("conditions", "\\text", "math-verify takes conditions with a word between them for a set of two relations"),
    of_class("conditions", why="math-verify compares relations with sets only under allow_set_relation_comp, off by default"),
    both("units", "cm", "", "the same number of centimetres and of metres; math-verify drops units"),
    of_class("units", why="the same size in another unit; math-verify drops units and compares the numbers"),
    of_class("separators", why="two points can only stand between thousands; math-verify multiplies 449.656 by 0.007"),
    with_answer("powers-of-ten", "e", "math-verify takes the e of 4.3e17 for Euler's number"),
    of_class("powers-of-ten", why="math-verify computes 7.9·10²⁵ in floating point"),
    of_class("bases", why="the base is part of the number; math-verify drops the index"),
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
