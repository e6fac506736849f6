"""400 pairs of answers whose kind has to be understood before they can be compared: clock times, sets, roundings, units,
bases. Made afresh by a seed; what is equal is settled by construction. `None` stands for pairs of which nobody can know.
"""

import random
from fractions import Fraction

EACH = 25
KINDS = {}


def kind(function):
    """Registers a kind under its function's name. The function gives one pair: gold, answer, whether they are equal."""
    KINDS[function.__name__.replace("_", "-")] = function
    return function


def pairs(seed):
    """Every kind EACH times, no pair twice."""
    rows = []
    for name, function in KINDS.items():
        draw = random.Random(f"{seed} {name}")
        seen = set()
        while len(seen) < EACH:
            gold, answer, equal = function(draw, len(seen))
            if (gold, answer) not in seen:
                seen.add((gold, answer))
                rows.append({"class": name, "gold": gold, "answer": f"\\boxed{{{answer}}}", "equal": equal})
    return rows


def frac(value):
    sign = "-" if value < 0 else ""
    return str(value) if value.denominator == 1 else f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def braces(items):
    return "\\{" + ", ".join(map(str, items)) + "\\}"


@kind
def times(draw, index):
    hour, minute = draw.randint(1, 11), draw.choice([0, 1, 2, 4, 5, 10, 15, 20])
    time = f"{hour}:{minute:02}"
    match index % 5:
        case 0:
            return time, time, True
        case 1 if hour < 6 and minute < 5:
            return f"{2 * hour}:{2 * minute:02}", time, False
        case 1:
            return f"{hour}:00", f"{draw.choice([h for h in range(1, 12) if h != hour])}:00", False
        case 2:
            return f"{time} \\text{{ PM}}", f"{time} \\text{{ AM}}", False
        case 3:
            return f"{hour + 12}:{minute:02}", f"{time} \\text{{ PM}}", True
        case _:
            return f"{time} \\text{{ PM}}", time, None


@kind
def ratios(draw, index):
    one, other = draw.sample(range(1, 10), 2)
    factor = draw.randint(2, 7)
    if index % 2:
        return f"{one}:{other}", f"{one}:{other + 10}", False
    return f"{one}:{other}", f"{factor * one + 0}:{factor * other}", True if factor * other < 10 or factor * one > 24 or factor * other > 59 else None


@kind
def finite_sets(draw, index):
    left, right = (set(draw.sample(range(-9, 20), draw.randint(2, 5))) for _ in range(2))
    name, result = draw.choice([("cup", left | right), ("cap", left & right), ("setminus", left - right)])
    if index % 2:
        result = result ^ {draw.randint(-9, 19)}
    return braces(sorted(result)) if result else "\\emptyset", f"{braces(left)} \\{name} {braces(right)}", not index % 2


@kind
def joined_intervals(draw, index):
    a = Fraction(draw.randint(-20, 20), draw.randint(1, 4))
    b, c = a + draw.randint(1, 5), a + draw.randint(6, 9)
    forms = [
        (f"({frac(a)}, {frac(b)}) \\cup [{frac(b)}, {frac(c)})", True),
        (f"({frac(a)}, {frac(b + 1)}) \\cup ({frac(b)}, {frac(c)})", True),
        (f"({frac(a)}, {frac(b)}) \\cup ({frac(b)}, {frac(c)})", False),
        (f"({frac(a)}, {frac(c)}] \\cap ({frac(a - 1)}, {frac(c)})", True),
        (f"[{frac(a)}, {frac(b)}] \\cup [{frac(b)}, {frac(c)})", False),
    ]
    answer, equal = forms[index % 5]
    return f"({frac(a)}, {frac(c)})", answer, equal


@kind
def complements(draw, index):
    a = draw.randint(-30, 30)
    b = a + draw.randint(1, 9)
    forms = [
        (f"(-\\infty, {a}) \\cup ({a}, \\infty)", f"\\mathbb{{R}} \\setminus \\{{{a}\\}}", True),
        (f"(-\\infty, {a}) \\cup ({a}, \\infty)", f"x \\ne {a}", True),
        (f"(-\\infty, {a}) \\cup ({a}, {b}) \\cup ({b}, \\infty)", f"\\mathbb{{R}} \\setminus \\{{{b}, {a}\\}}", True),
        ("\\mathbb{R}", f"(-\\infty, {b}) \\cup ({a}, \\infty)", True),
        ("\\mathbb{R}", f"(-\\infty, {a}) \\cup ({a}, \\infty)", False),
    ]
    return forms[index % 5]


@kind
def conditions(draw, index):
    a = draw.randint(-30, 30)
    b = a + draw.randint(1, 9)
    forms = [
        (f"({a}, {b})", f"{a} < x < {b}", True),
        (f"(-\\infty, {a}) \\cup [{b}, \\infty)", f"x < {a} \\text{{ or }} x \\geq {b}", True),
        (f"({a}, {b}]", f"x > {a} \\text{{ and }} x \\le {b}", True),
        (f"[{a}, \\infty)", f"x > {a}", False),
        (f"x > {a}", f"\\{{x \\mid x > {a}\\}}", True),
    ]
    return forms[index % 5]


@kind
def roundings(draw, index):
    value = draw.randint(101, 999)
    decimal = f"{value // 100}.{value % 100:02}"
    forms = [
        (decimal, f"\\approx {decimal}", True),
        (f"\\approx {decimal}", f"x \\approx {decimal}", True),
        (decimal, f"\\approx {value // 100}.{(value + 1) % 100:02}", False),
        (f"\\sqrt{{{value}}}", f"\\sqrt{{{value}}} \\approx {value ** 0.5:.2f}", True),
        (f"\\approx {decimal}", f"{decimal}{draw.randint(1, 4)}", None),
    ]
    return forms[index % 5]


@kind
def large_integers(draw, index):
    digits = draw.randint(17, 40)
    value = draw.randint(10 ** (digits - 1), 10**digits)
    if index % 2:
        return str(value), str(value + draw.choice([1, -1, 7, 10 ** (digits // 3)])), False
    return (str(value), f"{value:,}", True) if index % 4 else (f"10^{{{digits}}}", f"1{'0' * digits}", True)


@kind
def percentages(draw, index):
    value = draw.randint(2, 99)
    forms = [
        (f"{value}\\%", frac(Fraction(value, 100)), True),
        (f"{value}\\%", str(value), None),
        (f"{value}\\%", f"{value}0\\%", False),
        (f"{value / 100}", f"{value / 1000}", False),
        (f"0.{value:02}", f"{value}\\%", True),
    ]
    return forms[index % 5]


@kind
def mixed(draw, index):
    whole, under = draw.randint(1, 20), draw.randint(3, 9)
    over = draw.randint(1, under - 1)
    value = whole + Fraction(over, under)
    forms = [
        (frac(value), f"{whole}\\frac{{{over}}}{{{under}}}", True),
        (frac(-value), f"-{whole}\\frac{{{over}}}{{{under}}}", True),
        (frac(Fraction(whole * over, under)), f"{whole}\\frac{{{over}}}{{{under}}}", False),
        (frac(whole - Fraction(over, under)), f"{whole}\\frac{{{over}}}{{{under}}}", False),
        (f"\\frac{{x^{whole}}}{{{under}}}", f"x^{{{whole}}}\\frac{{1}}{{{under}}}" if whole > 9 else f"x^{whole}\\frac{{1}}{{{under}}}", True),
    ]
    gold, answer, equal = forms[index % 5]
    return (f"\\frac{{x^{{{whole}}}}}{{{under}}}" if index % 5 == 4 else gold), answer, equal


@kind
def units(draw, index):
    value = draw.randint(2, 60)
    forms = [
        (f"{value} \\text{{ m}}", f"{100 * value} \\text{{ cm}}", True),
        (f"{value} \\text{{ hours}}", f"{60 * value} \\text{{ minutes}}", True),
        (f"\\${value}", f"{100 * value} \\text{{ cents}}", True),
        (f"{value} \\text{{ cm}}", f"{value} \\text{{ m}}", False),
        (f"{value}^\\circ", f"\\frac{{{value}\\pi}}{{180}}", None),
    ]
    return forms[index % 5]


@kind
def separators(draw, index):
    whole, rest = draw.randint(1001, 999999), draw.randint(11, 99)
    european = f"{whole:,}".replace(",", ".")
    forms = [
        (str(whole * 1000 + 7), f"{whole * 1000 + 7:,}".replace(",", "."), True),
        (f"{whole}.{rest}", f"{european},{rest}", None),
        (f"{whole}.{rest}", f"{whole},{rest}", None),
        (f"{whole}.{rest}", f"{whole:,}.{rest}", True),
        (f"{whole}", f"{whole + 1:,}", False),
    ]
    return forms[index % 5]


@kind
def powers_of_ten(draw, index):
    digits, exponent = draw.randint(11, 99), draw.randint(3, 25)
    plain = digits * 10 ** (exponent - 1)
    forms = [
        (str(plain), f"{digits / 10}e{exponent}", True),
        (str(plain), f"{digits / 10} \\times 10^{{{exponent}}}", True),
        (str(plain), f"{digits} \\cdot 10^{{{exponent}}}", False),
        (f"{digits / 10} \\times 10^{{{exponent}}}", f"{digits / 10} \\times 10^{{-{exponent}}}", False),
        (f"{digits / 10} \\times 10^{{-{exponent}}}", f"\\frac{{{digits}}}{{10^{{{exponent + 1}}}}}", True),
    ]
    return forms[index % 5]


@kind
def bases(draw, index):
    value = draw.randint(9, 500)
    binary, octal = f"{value:b}", f"{value:o}"
    forms = [
        (f"{binary}_2", f"{binary}_{{2}}", True),
        (f"{binary}_2", f"{binary}_3", False),
        (f"{binary}_2", f"{value}", None),
        (f"{octal}_8", f"{octal}", False),
        (f"{octal}_8", f"{value + 1:o}_8", False),
    ]
    return forms[index % 5]


@kind
def order(draw, index):
    a, b, c = draw.sample(range(-20, 20), 3)
    column = f"\\begin{{pmatrix}} {a} \\\\ {b} \\end{{pmatrix}}"
    forms = [
        (f"({a}, {b}, {c})", f"({b}, {a}, {c})", False),
        (f"\\{{{a}, {b}, {c}\\}}", f"\\{{{c}, {a}, {b}, {a}\\}}", True),
        (column, f"\\begin{{pmatrix}} {b} \\\\ {a} \\end{{pmatrix}}", False),
        (column, f"\\begin{{bmatrix}} {a} \\\\ {2 * b}/2 \\end{{bmatrix}}", True),
        (f"x = {a}, y = {b}", f"({a}, {b})", True),
    ]
    return forms[index % 5]


@kind
def solutions(draw, index):
    a, b = draw.sample(range(-20, 20), 2)
    forms = [
        (f"\\{{{a}, {b}\\}}", f"x = {b} \\text{{ or }} x = {a}", True),
        (f"{a}, {b}", f"x = {a}, x = {b}", True),
        (f"\\pm {abs(a) + 1}", f"{abs(a) + 1}", False),
        (f"\\{{{a}, {b}\\}}", f"x \\in \\{{{b}, {a}\\}}", True),
        (f"x = {a}, y = {b}", f"x = {b}, y = {a}", False),
    ]
    return forms[index % 5]
