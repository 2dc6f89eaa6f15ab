"""Run commands beside one another, each in a process of its own, and stop them all together."""

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hw4.runtime import cores

# What a notebook, or tests, with TensorFlow need at most, in bytes of memory.
MEMORY = 3 * 2**30
# Begins a line of JSON from a process of ours among the lines of the programs it runs.
MARK = "\x1ehw4 "
GRACE = 15  # seconds to shut kernels down in
# Seconds without a line after which a process that has ended is believed to have no more to say.
SILENCE = 10


@dataclass(eq=False)
class Job:
    """One command; while it runs its process is known, at the end its exit code."""

    name: str
    command: list[str]
    code: int | None = None
    process: subprocess.Popen | None = field(default=None, repr=False)


def told(line: str) -> dict | None:
    """Return what a process of ours says in a line, None for a line of somebody else.

    >>> told(MARK + '{"cell": 3}'), told("Epoch 1")
    ({'cell': 3}, None)
    """
    with contextlib.suppress(ValueError):
        if line.startswith(MARK):
            return json.loads(line[len(MARK) :])
    return None


def at_once(count: int) -> int:
    """Return how many of `count` processes run at once: one a core, as memory allows.

    One core a notebook does more work than all cores for one: a convolutional epoch takes 9.3 s
    for two notebooks at once where each alone takes 5.5, on 2 cores.
    """
    return max(1, min(count, cores(), _free_memory() // MEMORY))


def _free_memory() -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if "MemAvailable" in line))
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 2 * MEMORY


def run(
    jobs: Iterable[Job], most: int, environment: dict[str, str], folder: Path | None = None
) -> Iterator[tuple[Job, str | None]]:
    """Run `jobs` in order, at most `most` at once; yield each with None when it starts and ends.

    In between it is yielded with every line that it writes. When the iterator is closed, by an
    interruption for instance, all that run are stopped.
    """
    waiting, running = collections.deque(jobs), set()
    events: queue.SimpleQueue = queue.SimpleQueue()
    silent = 0
    try:
        while waiting or running:
            while waiting and len(running) < most:
                job = waiting.popleft()
                running.add(job)
                _start(job, environment, folder, events)
                yield job, None
            try:
                # with a timeout, because on Windows a wait without one cannot be interrupted
                job, line = events.get(timeout=1)
            except queue.Empty:
                # a program that a dead process has left behind may hold its output open
                silent += 1
                ended = [job for job in running if job.process.poll() is not None]
                for job in ended if silent >= SILENCE else []:
                    events.put((job, None))
                continue
            silent = 0
            if job not in running:
                continue
            if line is None:
                job.code = job.process.wait()
                running.discard(job)
            yield job, line
    finally:
        _stop([job.process for job in running if job.process])


def _start(
    job: Job, environment: dict[str, str], folder: Path | None, events: queue.SimpleQueue
) -> None:
    # in a session of its own: a terminal's Ctrl-C comes to us, and we stop it in order
    job.process = subprocess.Popen(
        job.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=folder,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )

    def read() -> None:
        with job.process.stdout as lines:
            for line in lines:
                events.put((job, line.rstrip("\n")))
        events.put((job, None))

    threading.Thread(target=read, daemon=True).start()


def _stop(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        _signal(process, "SIGTERM")
    for process in processes:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            _signal(process, "SIGKILL")
            process.wait()


def _signal(process: subprocess.Popen, name: str) -> None:
    """Send a signal to a process and to those that it started in its session."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, getattr(signal, name))
    else:  # Windows has no such groups, and one way to end a process
        process.kill()
