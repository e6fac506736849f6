"""llama.cpp's server, started for one job and asked by as many clients as it has slots."""

import concurrent.futures
import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request


@contextlib.contextmanager
def server(tool, model, slots, positions, threads):
    """The address of a running server; it is ended with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shape = ["-np", slots, "-c", slots * positions, "-t", threads, "-tb", threads]
    command = [tool, "-m", model, *shape, "--host", "127.0.0.1", "--port", port, "--no-webui"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(address, running)
            yield address
        finally:
            running.terminate()
            running.wait()


def wait_for(address, running):
    for _ in range(600):
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            with urllib.request.urlopen(address + "/health", timeout=5):
                return
        if running.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError("llama-server did not start")


def tokens_per_second(address, prompts, samples, slots, **settings):
    """Tokens of all answers by the time from the first question to the last answer, and how many tokens there were."""
    jobs = [(prompt, seed) for prompt in prompts for seed in range(samples)]
    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(slots) as clients:
        tokens = sum(clients.map(lambda job: ask(address, *job, settings), jobs))
    return tokens / (time.perf_counter() - begun), tokens


def ask(address, prompt, seed, settings):
    body = {"messages": [{"role": "user", "content": prompt}], "seed": seed, "cache_prompt": True, **settings}
    request = urllib.request.Request(
        address + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)["usage"]["completion_tokens"]
