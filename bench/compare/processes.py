"""Peers in processes of their own. All but the one that is asked are stopped, so that threads that
spin or wake up in one cannot disturb another."""
import json
import os
import pathlib
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time

BENCH = pathlib.Path(__file__).resolve().parents[1]


class Failed(Exception):
    """A peer that cannot go on: it is left out, with this message."""


def environment(threads):
    """Every pool of threads that reads one of these gets the same size."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict(os.environ, **{name: str(threads) for name in names})


def start(verb, name, spec):
    command = [sys.executable, "-W", "ignore", str(BENCH / "worker.py"), verb, name,
               json.dumps(spec)]
    words = tempfile.TemporaryFile()  # a pipe that nobody reads would stop a peer that talks
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=words, env=environment(spec["threads"]))
    process.words = words
    return process


def last_words(process):
    process.words.seek(0)
    lines = process.words.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else f"its process ended with {process.wait()}"


def end(process):
    process.kill()
    process.wait()
    for file in (process.stdin, process.stdout, process.words):
        file.close()


def read_message(process, seconds):
    """The next line that is a JSON object; some peers print words of their own."""
    deadline = time.monotonic() + seconds
    line = b""
    while not line.startswith(b"{"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            process.kill()
            raise Failed(f"no answer in {seconds:.0f} s")
        line = process.stdout.readline()
        if not line:
            raise Failed(last_words(process))
    return json.loads(line)


class Worker:
    """A peer that serves, and the times it has shown."""

    def __init__(self, name, spec, patience):
        self.name, self.times, self.patience = name, [], patience
        self.process = start("serve", name, spec)
        try:
            self.about = read_message(self.process, patience)
        except Failed:
            self.close()
            raise
        self.process.send_signal(signal.SIGSTOP)

    def ask(self, **question):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        self.process.stdin.flush()
        answer = read_message(self.process, self.patience)
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def run(self, repetitions):
        times = self.ask(verb="run", repetitions=repetitions)["milliseconds"]
        self.times.append(statistics.median(times))

    def close(self):
        end(self.process)
