"""Writes crates/aludel-verify/tests/fixtures/maths_pairs.jsonl: 42 classes of answers, with 20 pairs each that are equal
and 20 that are not. Each class is a function that gives (gold, answer, equal); what is equal is settled by construction
(fractions, identities from a table), never by a program that is under test.
"""

import json
import os
from fractions import Fraction
from math import comb, factorial

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.path.join(HERE, "..", "..", "crates", "aludel-verify", "tests", "fixtures", "maths_pairs.jsonl")
CLASSES = {}


def pairs(function):
    """Registers a class under its function's name."""
    CLASSES[function.__name__.replace("_", "-")] = function
    return function


def table(rows):
    """Pairs from rows of a gold, the answers equal to it and the answers that are not."""
    for gold, right, wrong in rows:
        yield from ((gold, answer, True) for answer in right)
        yield from ((gold, answer, False) for answer in wrong)


def shifted(values, write):
    """Each value against itself and against its neighbour, the answer written by `write`."""
    for index, value in enumerate(values):
        yield write(value)[0], write(value)[1], True
        yield write(value)[0], write(values[(index + 1) % len(values)])[1], False


def frac(value, command="\\frac"):
    sign = "-" if value < 0 else ""
    return f"{sign}{command}{{{abs(value.numerator)}}}{{{value.denominator}}}"


def power(exponent):
    return str(exponent) if 0 <= exponent < 10 else f"{{{exponent}}}"


@pairs
def integers():
    forms = ["{}", "{}.0", "+{}", "{}.", "\\text{{ }}{}", "({})", "{{{}}}", "\\ {}", "{}.00", "\\displaystyle {}"]
    for index, value in enumerate(range(3, 203, 10)):
        form = forms[index % len(forms)]
        yield str(value), form.format(value), True
        yield str(value), form.format(value + [1, -1, 10, 100, value * 9][index % 5]), False


@pairs
def negative_integers():
    for index, value in enumerate(range(1, 21)):
        minus = ["-", "−", "- ", "(-", "--"][index % 4]
        yield str(-value), f"{minus}{value}" + (")" if minus.startswith("(") else ""), True
        yield str(-value), [str(value), f"-{value + 1}", f"-\\frac{{1}}{{{value + 1}}}", f"{value}-{value - 1}"][index % 4], False


@pairs
def fractions():
    values = [Fraction(n, d) for n, d in ((1, 2), (2, 3), (-3, 4), (7, 5), (11, 13), (1, 9), (-5, 6), (22, 7), (9, 34), (15, 56))]
    for index, value in enumerate(values):
        n, d = abs(value.numerator), value.denominator
        sign = "-" if value < 0 else ""
        yield frac(value), f"{sign}{n}/{d}", True
        yield frac(value), f"\\dfrac{{{sign}{n}}}{{{d}}}", True
        yield frac(value), frac(1 / value), False
        yield frac(value), f"{sign}{n + 1}/{d}" if index % 2 else frac(-value), False


@pairs
def short_fraction_arguments():
    for n in range(1, 9):
        for d in range(n + 1, 10):
            if (n + d) % 2:
                yield f"\\frac{{{n}}}{{{d}}}", f"\\frac{n}{d}", True
                yield f"\\tfrac {n}{d}", f"\\frac{d}{n}", False


@pairs
def unreduced_fractions():
    values = [Fraction(n, d) for n, d in ((1, 2), (3, 4), (5, 7), (2, 9), (8, 3), (13, 51), (3, 16), (41, 49), (7, 26), (1, 29))]
    for index, value in enumerate(values):
        for factor in (2, 3 + index):
            n, d = value.numerator * factor, value.denominator * factor
            yield frac(value), f"\\frac{{{n}}}{{{d}}}", True
            yield frac(value), f"\\frac{{{n + 1}}}{{{d}}}", False


@pairs
def decimals_and_fractions():
    values = [Fraction(n, d) for n, d in ((1, 2), (3, 4), (5, 8), (7, 20), (-9, 4), (41, 20), (123, 40), (1, 16), (17, 2), (-61, 2))]
    for value in values:
        decimal = f"{float(value)}"
        yield frac(value), decimal, True
        yield decimal, frac(value), True
        yield frac(value), f"{float(value) + 0.05:.4f}", False
        yield decimal, frac(value + Fraction(1, 100)), False


@pairs
def trailing_zeros():
    for index, value in enumerate(("0.5", "1.25", "3.75", "54.55", "222.22", "1.17", "-6.2", "0.001", "10.1", "99.99")):
        yield value, value + "0", True
        yield value, value + "000", True
        yield value, value + "1", False
        yield value, value + "5" if index % 2 else value.replace(".", ".0"), False


@pairs
def mixed_numbers():
    for index in range(20):
        whole, n, d = index + 1, 1 + index % 4, 5 + index % 7
        value = whole + Fraction(n, d)
        form = f"{whole}\\frac{{{n}}}{{{d}}}" if index % 3 else f"{whole} {n}/{d}"
        yield frac(value), form, True
        yield frac(value), frac(Fraction(whole * n, d)), False


@pairs
def percent():
    for index in range(10):
        value = 5 + 9 * index
        yield f"{value}\\%", f"{value / 100}", True
        yield f"{value}", f"{value}\\%", True
        yield f"{value}\\%", f"{value / 1000}", False
        yield f"{value}", f"{value + 1}\\%", False


@pairs
def thousands_separators():
    for index in range(20):
        value = 1234 * (index + 1) ** 3
        grouped = f"{value:,}"
        styles = [grouped, grouped.replace(",", ",\\!"), grouped.replace(",", "{,}"), grouped.replace(",", "\\,")]
        yield str(value), styles[index % 4], True
        yield str(value), styles[index % 4][:-1] + str((value + 1) % 10), False


@pairs
def scientific_notation():
    for index in range(20):
        digits, exponent = 11 + index * 4, index % 9 + 2
        plain = str(Fraction(digits * 10**exponent, 10))
        forms = [f"{digits / 10} \\times 10^{power(exponent)}", f"{digits / 10} \\cdot 10^{{{exponent}}}"]
        yield plain, forms[index % 2], True
        yield plain, forms[index % 2].replace(f"10^{power(exponent)}", f"10^{power(exponent + 1)}").replace(
            f"10^{{{exponent}}}", f"10^{{{exponent + 1}}}"
        ), False


@pairs
def repeating_decimals():
    for value, period in ((1, "1"), (2, "2"), (4, "4"), (5, "5"), (7, "7"), (8, "8")):
        yield f"\\frac{{{value}}}{{9}}", f"0.\\overline{{{period}}}", True
        yield f"\\frac{{{value}}}{{9}}", f"0.{period}", False
    for value in (1, 4, 12, 23, 37, 41, 58, 70, 82, 98, 5, 7, 13, 19):
        yield frac(Fraction(value, 99)), f"0.\\overline{{{value:02}}}", True
        yield frac(Fraction(value, 99)), f"0.{value:02}", False


@pairs
def simplified_roots():
    for root, outside, inside in ((8, 2, 2), (12, 2, 3), (18, 3, 2), (20, 2, 5), (27, 3, 3), (32, 4, 2), (45, 3, 5), (48, 4, 3), (50, 5, 2), (98, 7, 2)):
        yield f"{outside}\\sqrt{{{inside}}}", f"\\sqrt{{{root}}}", True
        yield f"\\sqrt{{{root}}}", f"{outside} \\sqrt {inside}", True
        yield f"{outside}\\sqrt{{{inside}}}", f"\\sqrt{{{root + 1}}}", False
        yield f"\\sqrt{{{root}}}", f"{inside}\\sqrt{{{outside + inside}}}", False


@pairs
def rationalised_roots():
    for n in (2, 3, 5, 6, 7, 10, 11, 13, 14, 15):
        yield f"\\frac{{\\sqrt{{{n}}}}}{{{n}}}", f"\\frac{{1}}{{\\sqrt{{{n}}}}}", True
        yield f"\\sqrt{{{n}}}+1", f"\\frac{{{n - 1}}}{{\\sqrt{{{n}}}-1}}", True
        yield f"\\frac{{\\sqrt{{{n}}}}}{{{n}}}", f"\\frac{{2}}{{\\sqrt{{{n}}}}}", False
        yield f"\\sqrt{{{n}}}+1", f"\\frac{{{n - 1}}}{{\\sqrt{{{n}}}+1}}", False


@pairs
def nested_roots():
    for a, b in ((1, 2), (2, 3), (1, 5), (3, 2), (2, 5), (4, 3), (3, 7), (5, 2), (1, 6), (2, 7), (6, 5), (3, 11), (1, 10), (4, 7), (2, 11), (5, 3), (1, 3), (2, 2), (3, 5), (4, 5)):
        nested = f"\\sqrt{{{a * a + b}+{2 * a}\\sqrt{{{b}}}}}"
        yield f"{a}+\\sqrt{{{b}}}", nested, True
        yield f"{a}+\\sqrt{{{b}}}", f"\\sqrt{{{a * a + b + 1}+{2 * a}\\sqrt{{{b}}}}}", False


@pairs
def higher_roots():
    for base in (2, 3, 4, 5, 6):
        yield str(base), f"\\sqrt[3]{{{base ** 3}}}", True
        yield f"{base}\\sqrt[3]{{2}}", f"\\sqrt[3]{{{2 * base ** 3}}}", True
        yield f"\\sqrt[4]{{{base}}}", f"{base}^{{1/4}}", True
        yield f"\\sqrt[3]{{{base}}}", f"{base}^{{\\frac{{1}}{{3}}}}", True
        yield str(base), f"\\sqrt[3]{{{base ** 2}}}", False
        yield f"{base}\\sqrt[3]{{2}}", f"\\sqrt[3]{{{2 * base}}}", False
        yield f"\\sqrt[4]{{{base}}}", f"{base}^{{1/3}}", False
        yield f"\\sqrt[3]{{{base}}}", f"\\sqrt{{{base}}}", False


@pairs
def multiples_of_pi():
    for index in range(20):
        n, d = index + 1, index % 6 + 2
        value = Fraction(n, d)
        forms = [f"\\frac{{{n}\\pi}}{{{d}}}", f"{n}\\pi/{d}", f"\\frac{{{n}}}{{{d}}}\\pi", f"\\pi \\cdot \\frac{{{n}}}{{{d}}}"]
        yield f"{frac(value)} \\pi", forms[index % 4], True
        wrong = [f"\\frac{{{n}}}{{{d}}}", f"\\frac{{{n + 1}\\pi}}{{{d}}}", f"\\frac{{{n}}}{{{d}\\pi}}", f"{float(value) * 3.14:.2f}"]
        yield f"{frac(value)} \\pi", wrong[index % 4], False


@pairs
def powers():
    for base, exponent in ((2, 10), (3, 7), (5, 4), (7, 3), (2, 20), (6, 5), (10, 6), (11, 2), (2, 13), (9, 4)):
        yield str(base**exponent), f"{base}^{{{exponent}}}", True
        yield f"{base}^{{-{exponent}}}", f"\\frac{{1}}{{{base ** exponent}}}", True
        yield str(base**exponent), f"{base}^{{{exponent + 1}}}", False
        yield f"{base}^{{-{exponent}}}", f"-{base ** exponent}", False


@pairs
def factorials_and_binomials():
    for n in range(3, 13):
        yield str(factorial(n)), f"{n}!", True
        yield str(comb(n + 2, 3)), f"\\binom{{{n + 2}}}{{3}}", True
        yield str(factorial(n)), f"{n + 1}!", False
        yield str(comb(n + 2, 3)), f"\\binom{{{n + 3}}}{{3}}", False


@pairs
def logarithms():
    for base, exponent in ((2, 3), (2, 5), (3, 4), (5, 2), (10, 3), (4, 3), (7, 2), (6, 3), (9, 2), (11, 2)):
        yield str(exponent), f"\\log_{{{base}}} {{{base ** exponent}}}", True
        yield f"\\ln {base ** exponent}", f"{exponent} \\ln {base}", True
        yield str(exponent), f"\\log_{{{base}}} {{{base ** (exponent + 1)}}}", False
        yield f"\\ln {base ** exponent}", f"\\ln {base} + \\ln {exponent}", False


@pairs
def trigonometry():
    yield from table(
        [
            ("\\frac{1}{2}", ["\\sin 30^\\circ", "\\cos \\frac{\\pi}{3}", "\\sin \\frac{\\pi}{6}", "\\cos(60^\\circ)"], ["\\sin 30", "\\cos \\frac{\\pi}{6}", "\\sin 60^\\circ", "\\tan 45^\\circ"]),
            ("\\frac{\\sqrt{3}}{2}", ["\\cos 30^\\circ", "\\sin \\frac{\\pi}{3}", "\\sin(60^\\circ)"], ["\\sin \\frac{\\pi}{4}", "\\tan 30^\\circ", "\\cos 60^\\circ"]),
            ("\\frac{\\sqrt{2}}{2}", ["\\sin 45^\\circ", "\\cos \\frac{\\pi}{4}"], ["\\tan \\frac{\\pi}{4}", "\\sin 40^\\circ"]),
            ("\\sqrt{3}", ["\\tan 60^\\circ", "\\tan \\frac{\\pi}{3}"], ["\\tan 30^\\circ", "\\tan 61^\\circ"]),
            ("1", ["\\tan 45^\\circ", "\\sin \\frac{\\pi}{2}", "\\sin^2 5 + \\cos^2 5"], ["\\sin \\pi", "\\cos 1", "\\sin^2 5 - \\cos^2 5"]),
            ("\\sin 2x", ["2 \\sin x \\cos x", "\\sin(2x)"], ["2\\sin x", "\\sin x \\cos x"]),
            ("\\cos 2x", ["\\cos^2 x - \\sin^2 x", "1 - 2\\sin^2 x", "2\\cos^2 x - 1"], ["2 \\cos x", "1 - \\sin^2 x", "\\cos^2 x"]),
            ("\\frac{\\pi}{4}", ["\\arctan 1"], ["\\arctan 2"]),
        ]
    )


@pairs
def degrees():
    for index in range(20):
        value = 10 + 17 * index
        forms = [f"{value}", f"{value}°", f"{value} \\text{{ degrees}}", f"{value}^{{\\circ}}"]
        yield f"{value}^\\circ", forms[index % 4], True
        yield f"{value}^\\circ", forms[index % 4].replace(str(value), str(value + 1 + index % 3)), False


@pairs
def units():
    names = ["cm", "meters", "square feet", "cubic inches", "apples", "km/h", "kg", "hours", "miles per hour", "days"]
    for index, name in enumerate(names):
        value = 12 + 11 * index
        yield f"{value}", f"{value}\\text{{ {name}}}", True
        yield f"{value} \\text{{ {name}}}", f"{value}", True
        yield f"{value}", f"{value + 2}\\text{{ {name}}}", False
        yield f"{value} \\text{{ {name}}}", f"{value * 10}", False


@pairs
def money():
    for index in range(10):
        value = f"{3 + index * 7}.{index}5" if index % 2 else f"{12 + index}"
        yield f"\\${value}", value, True
        yield value, f"\\${value}", True
        yield f"\\${value}", f"\\$1{value}", False
        yield value, f"\\${value}1" if "." in value else f"\\${value}.1", False


@pairs
def words():
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    others = ["even", "odd", "ellipse", "parabola", "hyperbola", "circle", "isosceles", "Evelyn", "Angela", "Briana", "Carla", "none", "neither"]
    yield from shifted(days + others, lambda word: (f"\\text{{{word}}}", f"\\text{{{word}}}"))


@pairs
def letters():
    forms = ["{}", "\\text{{{}}}", "\\text{{({})}}", "\\textbf{{{}}}"]
    for index in range(20):
        letter, other = "ABCDE"[index % 5], "ABCDE"[(index + 1 + index // 5) % 5]
        form = forms[index // 5]
        yield f"\\text{{{letter}}}", form.format(letter), True
        yield f"\\text{{{letter}}}", form.format(other if other != letter else "F"), False


@pairs
def tuples():
    for index in range(10):
        a, b = Fraction(index + 1, 2), 3 - index
        yield f"({frac(a)}, {b})", f"\\left( {float(a)}, {b} \\right)", True
        yield f"({a.numerator}, {b}, {index})", f"({a.numerator},{b},{index})", True
        yield f"({frac(a)}, {b})", f"\\left({b + 1}, {frac(a)}\\right)", False
        yield f"({a.numerator}, {b}, {index})", f"({a.numerator},{b},{index + 1})", False


@pairs
def intervals():
    for index in range(10):
        a, b = -index, index + 3
        yield f"[{a}, {b})", f"\\left[{a},{b}\\right)", True
        yield f"(-\\infty, {b}]", f"\\left(-\\infty, \\frac{{{2 * b}}}{{2}}\\right]", True
        yield f"[{a}, {b})", f"({a}, {b}]", False
        yield f"(-\\infty, {b}]", f"(-\\infty, {b})", False


@pairs
def unions():
    for index in range(10):
        a, b = -index - 1, index + 1
        yield f"(-\\infty, {a}) \\cup ({b}, \\infty)", f"(-\\infty,{a})\\cup({b},\\infty)", True
        yield f"[{a}, 0) \\cup (0, {b}]", f"\\left(0, {b}\\right] \\cup \\left[{a}, 0\\right)", True
        yield f"(-\\infty, {a}) \\cup ({b}, \\infty)", f"(-\\infty,{a}]\\cup({b},\\infty)", False
        yield f"[{a}, 0) \\cup (0, {b}]", f"[{a}, {b}]", False


@pairs
def inequalities():
    for index in range(10):
        a, b = index, index + 4
        yield f"{a} < x \\le {b}", f"({a}, {b}]", True
        yield f"x \\ge {a}", f"[{a}, \\infty)", True
        yield f"{a} < x \\le {b}", f"[{a}, {b})", False
        yield f"x \\ge {a}", f"(-\\infty, {a}]", False


@pairs
def sets():
    for index in range(20):
        items = [index, index + 2, index * 2 + 7]
        right = [items[2], items[0], items[1]] if index % 2 else items
        wrong = [items[0], items[1], items[2] + 1] if index % 3 else items[:2]
        yield "\\{" + ", ".join(map(str, items)) + "\\}", "\\{" + ",".join(map(str, right)) + "\\}", True
        yield "\\{" + ", ".join(map(str, items)) + "\\}", "\\{" + ",".join(map(str, wrong)) + "\\}", False


@pairs
def lists():
    for index in range(20):
        a, b = index - 5, index + 2
        forms = [f"{b}, {a}", f"{a} , {b}", f"{a} \\text{{ and }} {b}", f"{a},{b}"]
        yield f"{a}, {b}", forms[index % 4], True
        yield f"{a}, {b}", [f"{a}", f"{a}, {b + 1}", f"{a}, {b}, {b + 1}", f"{-a - 1}, {b}"][index % 4], False


@pairs
def plus_minus():
    for n in range(2, 12):
        yield f"{n}, -{n}", f"\\pm {n}", True
        yield f"1+\\sqrt{{{n}}}, 1-\\sqrt{{{n}}}", f"1 \\pm \\sqrt{{{n}}}", True
        yield f"{n}, -{n}", f"\\pm {n + 1}", False
        yield f"1+\\sqrt{{{n}}}, 1-\\sqrt{{{n}}}", f"-1 \\pm \\sqrt{{{n}}}", False


@pairs
def assignments():
    for index in range(20):
        value = index * 3 - 7
        name = "xyrnk"[index % 5]
        if index % 2:
            yield f"{name}={value}", str(value), True
            yield f"{name}={value}", f"{name}={value + 1}", False
        else:
            yield str(value), f"{name} = {value}", True
            yield f"{name}={value}", str(value + 1) if index % 4 else f"z={value}", False


@pairs
def equations():
    for index in range(20):
        m, c = index % 6 + 2, index - 8
        plus = f"+{c}" if c >= 0 else str(c)
        minus = f"-{c}" if c >= 0 else f"+{-c}"
        forms = [f"y = {plus.lstrip('+')} + {m}x", f"{m}x - y {plus} = 0", f"y {minus} = {m}x", f"2y = {2 * m}x + {2 * c}"]
        forms[3] = f"2y = {2 * m}x {2 * c:+}"
        yield f"y = {m}x{plus}", forms[index % 4], True
        wrong = [f"y = {m + 1}x{plus}", f"{m}x + y {plus} = 0", f"y = {m}x{minus}" if c else f"y = {m}x+1", f"2y = {m}x {2 * c + 1:+}"]
        yield f"y = {m}x{plus}", wrong[index % 4], False


@pairs
def polynomials():
    for index in range(10):
        a, b = index + 1, 2 * index - 5
        expanded = f"x^2 {a + b:+}x {a * b:+}" if a + b else f"x^2 {a * b:+}"
        yield expanded, f"(x{a:+})(x{b:+})", True
        yield f"(x{a:+})^3", f"x^3+{3 * a}x^2+{3 * a * a}x+{a ** 3}", True
        yield expanded, f"(x{a:+})(x{b + 1:+})", False
        yield f"(x{a:+})^3", f"x^3+{a ** 3}", False


@pairs
def rational_functions():
    for a in range(1, 11):
        yield f"\\frac{{x^2-{a * a}}}{{x-{a}}}", f"x+{a}", True
        yield f"\\frac{{1}}{{x}} + \\frac{{1}}{{x+{a}}}", f"\\frac{{2x+{a}}}{{x(x+{a})}}", True
        yield f"\\frac{{x^2-{a * a}}}{{x-{a}}}", f"x-{a}", False
        yield f"\\frac{{1}}{{x}} + \\frac{{1}}{{x+{a}}}", f"\\frac{{2}}{{2x+{a}}}", False


@pairs
def symbolic_powers():
    for n in range(2, 12):
        yield f"{n}^{{k}} \\cdot {n}^2", f"{n}^{{k+2}}", True
        yield f"\\frac{{n(n+{n})}}{{2}}", f"\\frac{{n^2+{n}n}}{{2}}", True
        yield f"{n}^{{k}} \\cdot {n}^2", f"{n}^{{2k}}", False
        yield f"\\frac{{n(n+{n})}}{{2}}", f"\\frac{{n(n+{n + 1})}}{{2}}", False


@pairs
def several_symbols():
    for n in range(2, 12):
        yield f"{n}ab + {n}ac", f"{n}a(b+c)", True
        yield f"\\frac{{a^2-b^2}}{{{n}}}", f"\\frac{{(a-b)(a+b)}}{{{n}}}", True
        yield f"{n}ab + {n}ac", f"{n}a(b-c)", False
        yield f"\\frac{{a^2-b^2}}{{{n}}}", f"\\frac{{(a-b)^2}}{{{n}}}", False


@pairs
def complex_numbers():
    for index in range(10):
        a, b = index - 4, index + 2
        yield f"{a}+{b}i", f"{b}i {a:+}", True
        yield f"{a * a - b * b}{2 * a * b:+}i", f"({a}+{b}i)^2", True
        yield f"{a}+{b}i", f"{a}-{b}i", False
        yield f"{a * a - b * b}{2 * a * b:+}i", f"({a}+{b}i)({a}-{b}i)" if a else f"{b * b}", False


@pairs
def matrices():
    for index in range(20):
        a, b, c, d = index, 1 - index, index + 3, 2
        kind = "pmatrix" if index % 2 else "bmatrix"
        yield (
            f"\\begin{{pmatrix}} {a} & {b} \\\\ {c} & {d} \\end{{pmatrix}}",
            f"\\begin{{{kind}}}{a}&{b}\\\\{c}&\\frac{{4}}{{2}}\\end{{{kind}}}",
            True,
        )
        yield (
            f"\\begin{{pmatrix}} {a} & {b} \\\\ {c} & {d} \\end{{pmatrix}}",
            f"\\begin{{{kind}}}{a}&{c}\\\\{b}&{d}\\end{{{kind}}}",
            False,
        )


@pairs
def prose():
    forms = [
        "So she has {} apples left.",
        "The answer is {}.",
        "First 7, then 9.\n\n**Answer:** {}",
        "#### {}",
        "We get 3 + 4 = 7 and thus $x = {}$.",
        "Thus \\boxed{{11}} is wrong; the final answer is \\boxed{{{}}}. I hope it is correct.",
        "Therefore, the final answer is $\\boxed{{{}}}$.",
        "\\[ \\boxed{{{}}} \\]",
        "The total is ${}.",
        "Final answer: {} dollars",
    ]
    for index, value in enumerate(range(13, 213, 10)):
        text = forms[index % len(forms)]
        yield str(value), text.format(value), True
        yield str(value), text.format(value + 4), False


def main():
    rows = []
    for name, function in CLASSES.items():
        found = list(function())
        for equal in (True, False):
            of_kind = [(gold, answer) for gold, answer, is_equal in found if is_equal == equal][:20]
            assert len(of_kind) == 20, f"{name}: {len(of_kind)} pairs that are {equal}"
            assert len(set(of_kind)) == 20, f"{name}: a pair twice"
            for gold, answer in of_kind:
                text = answer if name == "prose" else f"\\boxed{{{answer}}}"
                rows.append({"class": name, "gold": gold, "answer": text, "equal": equal})
    assert len(CLASSES) >= 40, len(CLASSES)
    with open(TARGET, "w", encoding="utf-8") as target:
        target.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    print(f"{len(rows)} pairs of {len(CLASSES)} classes")


if __name__ == "__main__":
    main()
