"""The texts and training rows that the checks run on: built in, or taken from a user's JSONL file."""

import json
import random

TEXTS = [
    "The harbour at Ystrad was built twice. The first one, of oak piles and rubble, stood for eleven years until the "
    "autumn storms of 1703 carried away the western mole and left forty boats lying in the mud of the upper town. The "
    "second was drawn by a surveyor who had never seen the sea, and it is still there. He had measured the tide with a "
    "painted pole for nineteen months, noting the height each noon and each midnight in a small green book, and from "
    "those figures he concluded that the water never rose more than five metres and twenty above the rock. He set the "
    "top of his wall at six. Fishermen laughed at the waste of stone. In the following century the wall was overtopped "
    "on three nights, each time by less than the length of a hand, and no boat was lost. When the railway came, the "
    "engineers wanted to lower it for the sake of the cranes. The council asked to see their measurements, and, as "
    "there were none, the answer was short. The green book is kept in the library, open at the page where the pole "
    "broke and a new one had to be painted in the dark, by lantern, with the snow falling on the wet numbers.",
    "To see why the sum of two dice is most often seven, write the results of the first die as rows and those of the "
    "second as columns, and fill in the sums. There are 6 × 6 = 36 cells, all equally likely. The sum 2 occurs once, 3 "
    "twice, 4 three times, 5 four times, 6 five times, 7 six times, and then the counts fall again: 8 five times, 9 four "
    "times, 10 three times, 11 twice and 12 once. So P(7) = 6/36 = 1/6, about 0.1667. Now suppose that we learn that at "
    "least one die shows a four. Eleven cells remain: six in the row of the four, six in its column, less the cell that "
    "was counted twice. Two of these eleven have the sum seven, namely (4, 3) and (3, 4). Therefore P(7 | a four) = 2/11, "
    "about 0.1818, which is a little more than before. Learning that the sum is seven, on the other hand, leaves six "
    "cells, two of which hold a four, and 2/6 = 1/3. The two conditional probabilities differ, because the conditions "
    "keep different parts of the table; only the two cells in the overlap are the same in both questions.",
    "def merge_intervals(intervals):\n"
    '    """Joins intervals that touch or overlap; each is a pair (start, end) with start <= end."""\n'
    "    merged = []\n"
    "    for start, end in sorted(intervals):\n"
    "        if merged and start <= merged[-1][1]:\n"
    "            merged[-1] = (merged[-1][0], max(merged[-1][1], end))\n"
    "        else:\n"
    "            merged.append((start, end))\n"
    "    return merged\n\n\n"
    "def free_slots(busy, day_start, day_end, minutes):\n"
    '    """The gaps between busy intervals that last at least so many minutes."""\n'
    "    slots, at = [], day_start\n"
    "    for start, end in merge_intervals(busy):\n"
    "        if start - at >= minutes:\n"
    "            slots.append((at, start))\n"
    "        at = max(at, end)\n"
    "    if day_end - at >= minutes:\n"
    "        slots.append((at, day_end))\n"
    "    return slots\n\n\n"
    "assert merge_intervals([(5, 8), (1, 3), (2, 4)]) == [(1, 4), (5, 8)]\n"
    "assert free_slots([(540, 600), (590, 660)], 480, 720, 60) == [(480, 540), (660, 720)]\n",
    "Question: A baker sells loaves at 3.20 each and rolls at 0.45 each. On Monday she sold 84 loaves and three times as "
    "many rolls as loaves; on Tuesday a quarter fewer loaves, but 60 rolls more than on Monday. How much did she take in "
    "on the two days together?\n\nAnswer: On Monday the rolls were 3 × 84 = 252. The loaves brought 84 × 3.20 = 268.80 and "
    "the rolls 252 × 0.45 = 113.40, which makes 382.20. On Tuesday a quarter of 84 is 21, so she sold 84 − 21 = 63 loaves "
    "for 63 × 3.20 = 201.60. The rolls were 252 + 60 = 312 for 312 × 0.45 = 140.40, which makes 342.00. Together that is "
    "382.20 + 342.00 = 724.20. As a check, 147 loaves at 3.20 are 470.40, 564 rolls at 0.45 are 253.80, and their sum is "
    "724.20 as well. The answer is 724.20.\n\nQuestion: A tank of 900 litres is filled by two taps. The first alone needs "
    "45 minutes, the second an hour. How long do they take together?\n\nAnswer: The first gives 900 / 45 = 20 litres a "
    "minute, the second 900 / 60 = 15, both 35. So 900 / 35 is about 25.7 minutes.",
    "Liebe Frau Okonkwo, vielen Dank für Ihren Brief vom 3. März. Die Lieferung, von der Sie schreiben, ist tatsächlich am "
    "falschen Tor abgegeben worden; wir haben sie heute früh gefunden. Monsieur Delacroix m'a dit que les caisses étaient "
    "intactes, mais que deux étiquettes manquaient. I have therefore asked the warehouse to open boxes 7 and 12, count "
    "what is inside, and send you the list (with photographs) before Friday, 17:00 CET. Please check these points: (a) "
    "the part numbers AX-2041/b and AX-2044/c, (b) the quantity, 48 and 36 pieces, (c) the seals — green, not blue. If "
    "anything is missing, we replace it at our cost; € 1.250,00 have been set aside for this. 追加の費用はかかりません。 "
    "Пожалуйста, сообщите нам до конца недели. La factura número 0098-C queda anulada; recibirá una nueva con la fecha "
    "correcta. Our e-mail is parts@example.org, our telephone +49 (0)30 555 01-23. Mit freundlichen Grüßen, Hanna Weiß, "
    "on behalf of the whole team ☕🙂.",
]


def texts(data, tokenizer):
    """Five texts as lists of 200 to 512 ids."""
    found = TEXTS if data is None else ["\n".join(f"{role}: {text}" for role, text in turns(row)) for row in data]
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"][:512] for text in found]
    long_enough = [ids for ids in encoded if len(ids) >= 200][:5]
    if len(long_enough) < 5:
        raise SystemExit(
            f"five texts of 200 tokens are needed, and the data holds {len(long_enough)}: give a larger file"
        )
    return long_enough


def chat_rows(data, count):
    """Rows of one question and one answer, in the `messages` shape."""
    source = arithmetic(count) if data is None else [row for row in map(turns, data) if len(row) == 2]
    return [{"messages": [{"role": role, "content": text} for role, text in row]} for row in source[:count]]


def reasoning_rows(count):
    """Short rows whose answer follows from the reasoning, so that few steps suffice to learn their form."""
    generator = random.Random(5)
    rows = []
    for _ in range(count):
        a, b = generator.randint(2, 60), generator.randint(2, 60)
        rows.append(
            {
                "prompt": f"What is {a} plus {b}?",
                "reasoning": f"I have to add {a} and {b}. {a} + {b} = {a + b}.",
                "response": f"The sum is {a + b}.",
            }
        )
    return rows


def read_jsonl(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def write_jsonl(path, rows):
    with open(path, "w") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def turns(row):
    """(role, text) of a row in one of the usual shapes."""
    if "messages" in row:
        return [(message["role"], message["content"]) for message in row["messages"]]
    for question, answer in [("prompt", "response"), ("prompt", "completion"), ("question", "answer")]:
        if question in row and answer in row:
            return [("user", row[question]), ("assistant", row[answer])]
    raise SystemExit(f"no known columns among {sorted(row)}: messages, prompt and response, or question and answer")


def arithmetic(count):
    """Word problems with a written solution, 90 to 220 tokens each under the student's template."""
    generator = random.Random(3)
    rows = []
    for _ in range(count):
        price, pieces, days, share = (generator.randint(*span) for span in [(3, 40), (5, 60), (2, 9), (2, 5)])
        daily, total = price * pieces, price * pieces * days
        question = (
            f"A stall sells {pieces} baskets a day at {price} coins each. It is open for {days} days, and 1/{share} of "
            "what it takes in goes to the market. How many coins go to the market?"
        )
        lines = [
            f"One day brings {pieces} × {price} = {daily} coins.",
            f"In {days} days that is {daily} × {days} = {total}.",
        ]
        if generator.random() < 0.5:
            lines.append(f"Check: {pieces * days} baskets are sold in all, and {pieces * days} × {price} = {total}.")
        lines.append(f"The market's part is {total} / {share} = {total / share:.2f}.")
        rows.append([("user", question), ("assistant", "\n".join(lines))])
    return rows


def supervised_ids(tokenizer, row):
    """The ids of a chat row as transformers renders it, and which of them are the answer or its end-of-turn token."""
    messages = row["messages"]
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    prefix = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    assert whole.startswith(prefix)
    end = whole.rindex(tokenizer.eos_token) + len(tokenizer.eos_token)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    supervised = [len(prefix) <= start and stop <= end for start, stop in encoded["offset_mapping"]]
    return encoded["input_ids"], supervised
