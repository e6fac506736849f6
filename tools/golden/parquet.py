"""Writes small Parquet files of the types and packings that other tools write, for the tests of aludel-data.

    python tools/golden/parquet.py crates/aludel-data/tests/fixtures/parquet
"""

import datetime
import decimal
import pathlib
import sys

import pyarrow
import pyarrow.parquet

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)


def write(name, table, **options):
    pyarrow.parquet.write_table(table, folder / f"{name}.parquet", **options)


day = datetime.datetime(2026, 11, 27, 8, 30, 15, 250000, tzinfo=datetime.timezone.utc)
texts = {"question": ["q", "r"], "answer": ["4", "5"]}
kinds = {
    "berlin": pyarrow.array([day, None], pyarrow.timestamp("us", "Europe/Berlin")),
    "utc": pyarrow.array([day, None], pyarrow.timestamp("ns", "UTC")),
    "local": pyarrow.array([day.replace(tzinfo=None), None], pyarrow.timestamp("ms")),
    "date": pyarrow.array([day.date(), None], pyarrow.date32()),
    "time": pyarrow.array([day.time(), None], pyarrow.time64("us")),
    "duration": pyarrow.array([datetime.timedelta(seconds=2), None], pyarrow.duration("us")),
    "decimal": pyarrow.array([decimal.Decimal("3.10"), None], pyarrow.decimal128(10, 2)),
    "wide_decimal": pyarrow.array([decimal.Decimal(2**140), None], pyarrow.decimal256(50, 0)),
    "map": pyarrow.array([[(1, "a"), (2, None)], None], pyarrow.map_(pyarrow.int32(), pyarrow.string())),
    "unsigned": pyarrow.array([2**64 - 1, None], pyarrow.uint64()),
    "word": pyarrow.array(["w", None]).dictionary_encode(),
    "large": pyarrow.array(["l", None], pyarrow.large_string()),
    "list": pyarrow.array([[{"a": 1, "b": "x"}, {"a": None, "b": "y"}], []]),
    "float": pyarrow.array([0.1, float("nan")]),
    "half": pyarrow.array([1.5, None], pyarrow.float16()),
    "empty": pyarrow.array([None, None], pyarrow.null()),
    "bytes": pyarrow.array([b"caf\xc3\xa9", b"\xff\xfe"], pyarrow.large_binary()),
    "image": pyarrow.array([{"bytes": b"\x89PNG\xff", "path": None}, None]),
}
write("kinds", pyarrow.table(texts | kinds))
as_bytes = {name: pyarrow.array([text.encode() for text in column], pyarrow.binary()) for name, column in texts.items()}
write("binary", pyarrow.table(as_bytes))
write("no_text", pyarrow.table({"question": pyarrow.array([b"\xff"]), "answer": pyarrow.array([b"4"])}))
write("brotli", pyarrow.table(texts), compression="brotli")
beside = texts | {"note": ["a", "b"]}
write("brotli_beside", pyarrow.table(beside), compression={"question": "zstd", "answer": "snappy", "note": "brotli"})
write("brotli_answer", pyarrow.table(beside), compression={"question": "zstd", "answer": "brotli", "note": "snappy"})
