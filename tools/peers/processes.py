"""Runs other programs to their end and reads what they print."""

import json
import os
import shlex
import subprocess
import time


class Crashed(RuntimeError):
    """A program that a signal ended."""


def output_of(command, variables=None):
    """What a program printed; its own last words are the error when it fails."""
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (variables or {}))
    if done.returncode < 0:
        raise Crashed(f"{os.path.basename(command[0])} was ended by signal {-done.returncode}")
    if done.returncode != 0:
        last_words = "\n".join(done.stderr.splitlines()[-12:])
        name = " ".join([os.path.basename(command[0]), *command[1:2]])
        raise RuntimeError(f"{name} ended with exit code {done.returncode}: {last_words}")
    return done.stdout


def last_json(printed):
    return json.loads(printed.splitlines()[-1])


class Recorded:
    """Runs programs and keeps their command lines, each once, without any path of this machine."""

    def __init__(self):
        self.commands = []

    def output_of(self, command, variables=None):
        shown = shlex.join(os.path.basename(part) if os.path.isabs(part) else part for part in map(str, command))
        shown = " ".join([f"{name}={value}" for name, value in (variables or {}).items()] + [shown])
        if shown not in self.commands:
            self.commands.append(shown)
        return output_of(command, variables)

    def seconds_of(self, command):
        """From the start of the process to its end."""
        start = time.perf_counter()
        self.output_of(command)
        return time.perf_counter() - start
