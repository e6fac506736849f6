"""The rows of the table, one function for each measurement; bars and aims stand here, next to what they judge."""

from functools import partial
from statistics import median

from speed_table import SpeedRow
from speed_world import PROMPT_LENGTH

ALL_LINEAR = ("lora.r=16", "lora.target_modules=all-linear")


def training(world):
    """Utilisation, both Python peers at their best, and memory: all from the same rounds."""
    loops = world.strongest(world.torch_loops(("autocast", "bf16", "fp32")))
    trls = world.strongest(world.trl_loops())
    found = world.alternate({"ours": world.our_training} | loops | trls, world.effort.training_rounds)
    ours, rates = found["ours"], taken(found["ours"], "tokens_per_second")
    loop, trl = fastest(found, loops), fastest(found, trls)
    loop_rates, trl_rates = (taken(found[name], "tokens_per_second") for name in (loop, trl))
    memory, loop_memory = (gigabytes(found[name]) for name in ("ours", loop))
    on_tiles = ours[0]["instruction_set"] == "amx"
    # Products of this student's size are too small to fill AMX: there the peers are what is asked for.
    utilised = SpeedRow("training, S = 1024, utilisation", "", taken(ours, "utilisation"), at_least=0.60, aim=0.70)
    (loop_bar, loop_aim), (trl_bar, trl_aim) = ((2.5, 4.0), (3.5, 6.0)) if on_tiles else ((1.8, 2.5), (2.4, None))
    return ([] if on_tiles else [utilised]) + [
        SpeedRow(f"training beside {loop}", "tokens/s", rates, loop_rates, ratio_at_least=loop_bar, aim=loop_aim),
        SpeedRow(f"… beside {trl}", "tokens/s", rates, trl_rates, ratio_at_least=trl_bar, aim=trl_aim),
        SpeedRow("… peak memory, beside the plain loop's", "GB", memory, loop_memory, at_most=1.0, aim=0.9),
    ]


def training_512(world):
    return utilisation(world, "training, S = 512, utilisation", length=512)


def training_2048(world):
    return utilisation(world, "training, S = 2048, utilisation", length=2048)


def training_all_linear(world):
    return utilisation(world, "training, S = 1024, r = 16 on all linears, utilisation", settings=ALL_LINEAR)


def utilisation(world, what, **shape):
    found = world.alternate({"ours": partial(world.our_training, **shape)}, world.effort.training_rounds)
    return [SpeedRow(what, "", taken(found["ours"], "utilisation"), at_least=0.58, aim=0.70)]


def training_f32(world):
    loops = world.strongest(world.torch_loops(("fp32",)))
    ours = partial(world.our_training, settings=("student.dtype=f32",))
    found = world.alternate({"ours, f32": ours} | loops, world.effort.training_rounds)
    loop = fastest(found, loops)
    rates, loop_rates = (taken(found[name], "tokens_per_second") for name in ("ours, f32", loop))
    return [SpeedRow(f"training in f32, beside {loop}", "tokens/s", rates, loop_rates, ratio_at_least=1.5, aim=2.0)]


def training_avx2(world):
    return limited(world, "avx2")


def training_avx512(world):
    return limited(world, "avx512")


def limited(world, isa):
    """Both sides kept to one instruction set without products of bf16: PyTorch in f32, ours as "auto" has it."""
    loops = world.strongest(world.torch_loops(("fp32",), isa))
    ours = partial(world.our_training, isa=isa)
    found = world.alternate({f"ours on {isa}": ours} | loops, world.effort.training_rounds)
    loop = fastest(found, loops)
    rates, loop_rates = (taken(found[name], "tokens_per_second") for name in (f"ours on {isa}", loop))
    return [SpeedRow(f"training on {isa}, beside {loop}", "tokens/s", rates, loop_rates, ratio_at_least=1.5, aim=2.0)]


def decode_bf16(world):
    return decode_rows(world, world.gguf("BF16"), "bf16", "BF16")


def decode_q8_0(world):
    found = decode(world, world.gguf("Q8_0"), "file", [1])
    return [decode_row(found, "decode, kept in Q8_0, 1 at once, beside llama.cpp", "1", 0.9, 1.1)]


def decode_file(world):
    """The wheel's file is Q4_1; another student is measured as it comes, too."""
    return decode_rows(world, world.student, "file", "the student's own file")


def decode_rows(world, model, dtype, what):
    bars = {"1": (1.0, 1.2), "8": (1.5, 2.0), "32": (2.0, 3.0)}
    found = decode(world, model, dtype, list(map(int, bars)))
    name = world.llama.name(model)
    return [
        decode_row(found, f"decode, {what}, {size} at once, beside {name}", size, bar, aim)
        for size, (bar, aim) in bars.items()
    ]


def decode(world, model, dtype, sizes):
    length, new_tokens = PROMPT_LENGTH, world.effort.new_tokens
    listed = ",".join(map(str, sizes))
    shape = ["--batch-sizes", listed, "--prompt-length", length, "--new-tokens", new_tokens]
    contenders = {
        "ours": lambda: world.our_generation(model, dtype, *shape),
        "llama.cpp": lambda: {"decode_tokens_per_second": world.llama.decode(model, sizes, length, new_tokens)},
    }
    return world.alternate(contenders, world.effort.generation_rounds)


def decode_row(found, what, size, bar, aim):
    ours, theirs = (
        [rates[size] for rates in taken(found[name], "decode_tokens_per_second")] for name in ("ours", "llama.cpp")
    )
    return SpeedRow(what, "tokens/s", ours, theirs, ratio_at_least=bar, aim=aim)


def prefill(world):
    return read(world, world.gguf("BF16"), "bf16", "BF16")


def prefill_file(world):
    return read(world, world.student, "file", "the student's own file")


def read(world, model, dtype, what):
    key = "prefill_tokens_per_second"
    shape = ["--prefill-length", 512, "--batch-sizes", 1]
    contenders = {
        "ours": lambda: world.our_generation(model, dtype, *shape),
        "llama.cpp": lambda: {key: world.llama.prefill(model, 512)},
    }
    found = world.alternate(contenders, world.effort.generation_rounds)
    ours, theirs = (taken(found[name], key) for name in contenders)
    name = f"prefill of 512, {what}, beside {world.llama.name(model)}"
    return [SpeedRow(name, "tokens/s", ours, theirs, ratio_at_least=1.5, aim=3.0)]


def start_up(world):
    """The whole process, from its start to the end of an answer of one token; the first round warms the file cache."""
    contenders = {
        "ours": lambda: {"wall_seconds": world.our_first_token_seconds("short")},
        "llama.cpp": lambda: {"wall_seconds": world.llama.first_token_seconds(world.student, "short")},
    }
    found = world.alternate(contenders, world.effort.generation_rounds + 1)
    ours, theirs = (taken(found[name], "wall_seconds")[1:] for name in contenders)
    return [SpeedRow("start-up to the first token, beside llama.cpp", "s", ours, theirs, at_most=1.5, aim=0.5)]


def threads(world):
    contenders = {f"{count} threads": partial(world.our_training, threads=count) for count in (2, 1)}
    found = world.alternate(contenders, world.effort.training_rounds)
    two, one = (taken(found[name], "tokens_per_second") for name in contenders)
    return [SpeedRow("training, 2 threads beside 1", "tokens/s", two, one, ratio_at_least=1.8, aim=1.95)]


def fastest(found, names):
    """The one whose median is highest."""
    return max(names, key=lambda name: median(taken(found[name], "tokens_per_second")))


def taken(readings, key):
    return [reading[key] for reading in readings]


def gigabytes(readings):
    return [peak / 1e9 for peak in taken(readings, "peak_rss_bytes")]
