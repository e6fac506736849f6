"""Why we and math-verify, or we and a trace's label, disagree. Each entry was read and judged by hand."""

PEER = []
LABELS = {}
