"""math-verify's verdicts, in its own virtual environment: JSON lines of `gold` and `answer` in, a line of true or false for each out."""

import json
import logging
import sys

from math_verify import parse, verify

logging.getLogger("math_verify").setLevel(logging.ERROR)
for line in sys.stdin:
    pair = json.loads(line)
    print(json.dumps(bool(verify(parse(f"\\boxed{{{pair['gold']}}}"), parse(pair["answer"])))))
