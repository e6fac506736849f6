"""Writes data files of any size from a seed: rows of `prompt`, `reasoning` and `response` whose text has the mixture that worked answers have
(common words by Zipf's law, rare and invented words, numbers, formulas, line breaks). The same seed gives the same bytes."""

import itertools
import json
import random

COMMON = """the of and to a in is we that for it so this be as with are on by have then if can from at one which will not or
but there all number first so let total each time two need find when value get now more other after since equal per into them
how many answer check what step use same side left right both only three over under between out would could should think know
because therefore however maybe wait again again also again actually right correct wrong compute calculate sum product
difference ratio probability fraction percent equation solve substitute divide multiply add subtract factor remainder even odd
prime square root angle triangle circle radius area perimeter volume length width height hour minute day week month year cost
price money dollar cents sell buy profit loss apples oranges books pages students teachers class school train car speed distance
miles kilometres water tank pipe fill empty worker job rate machine box ball red blue green white black card dice coin head tail
event outcome sample mean median range set subset function graph line slope point axis positive negative zero integer real
case assume suppose given known unknown result means gives makes takes leaves remains becomes follows implies holds true false
statement premise conclusion argument evidence reason example pattern sequence term next previous last order position row column
grid cell word letter string count repeat loop list sort search data model text token""".split()
SYLLABLES = "ba con de er fa gra hin io ja ki lor men no pel qua ri sta tu ven wo xi yo zan ster ing ment tion ly ous".split()
MARKS = [". ", ". ", ". ", ", ", ", ", "; ", ": ", "? ", ".\n", ".\n", ".\n\n", " — ", "…\n"]


def pieces(rng, phrases=60_000, formulas=20_000):
    """What rows are drawn from: phrases, and among every four pieces one with numbers."""
    invented = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(8_000)]
    words = COMMON + invented
    weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(words))))
    pool = [formula(rng) for _ in range(formulas)]
    for _ in range(phrases):
        phrase = " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(4, 16)))
        phrase = phrase.capitalize() if rng.random() < 0.6 else phrase
        pool.append(phrase + rng.choice(MARKS))
    return pool


def formula(rng):
    a, b = rng.randint(2, 9_999), rng.randint(2, 999)
    return rng.choice(
        [
            f"{a} + {b} = {a + b}\n",
            f"{a} × {b} = {a * b:,}, ",
            f"\\frac{{{a}}}{{{b}}} ≈ {a / b:.3f}\n",
            f"x = ({a} - {b}) / {b}; ",
            f"So that is {a * b} of {a + b}.\n",
        ]
    )


def write(path, rows, row_bytes, seed):
    """Writes `rows` rows of about `row_bytes` bytes each; gives the size of the file."""
    rng = random.Random(seed)
    pool = pieces(rng)
    piece_bytes = sum(len(piece.encode()) for piece in pool) / len(pool)

    def text(size):
        return "".join(rng.choices(pool, k=round(size / piece_bytes)))

    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            prompt = f"Problem {number}. " + text(row_bytes * 0.05)
            row = {"prompt": prompt, "reasoning": text(row_bytes * 0.91), "response": text(row_bytes * 0.04)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return file.tell()
