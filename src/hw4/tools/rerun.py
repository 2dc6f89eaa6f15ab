"""Execute submissions again, each in a process of its own, through Dask, and compare measurements.

This is a fence against accidents, not a prison: time and memory are limited, the network is cut
off where the system allows it, files go to a folder that is removed. Whoever grades strangers runs
it in a container.
"""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hw4.tools import execute, grade, jobs, submission
from hw4.tools.grade import Grade, References
from hw4.tools.submission import Unreadable, shortened

SECONDS, MEMORY = 1800, 16  # a notebook; memory in GiB of address space
# A worker that dies gives its notebook back; one that kills three workers is given up.
RETRIES = 3


def run(
    paths: list[Path],
    references: References,
    workers: int | None = None,
    scheduler: str | None = None,
    seconds: float = SECONDS,
    memory: float = MEMORY,
) -> Iterator[tuple[Path, Grade]]:
    """Execute notebooks again; yield each path with the grade of the new outputs, as they come.

    Args:
        paths: submissions; those that cannot be read are left out.
        references: what they are held against.
        workers: processes of this machine; by default as cores and memory allow.
        scheduler: address of a Dask cluster that exists and has hw4 installed, used instead.
        seconds: limit for one notebook.
        memory: limit for one notebook, in GiB of address space.
    """
    from distributed import Client, LocalCluster, as_completed

    workers = workers or jobs.at_once(len(paths))
    with contextlib.ExitStack() as stack:
        if not scheduler:
            # without a memory limit of Dask's own: the notebooks run in processes beside it
            cluster = LocalCluster(
                workers, threads_per_worker=1, memory_limit=0, dashboard_address=None
            )
            scheduler = stack.enter_context(cluster)
        client = stack.enter_context(Client(scheduler))
        waiting = {}
        for path in paths:
            with contextlib.suppress(Unreadable):
                submission.read(path)
                task = client.submit(
                    once, path.read_bytes(), seconds, memory, workers, retries=RETRIES, pure=False
                )
                waiting[task] = path
        for task in as_completed(list(waiting)):
            yield waiting[task], _grade(task, waiting[task], references)
            task.release()


def _grade(task, path: Path, references: References) -> Grade:
    """Return the grade of the executed copy; what went wrong with it stands in `problems`."""
    found = Grade(path, status="unreadable")
    try:
        problem, content = task.result()
        if content is not None:
            found = grade.examine(submission.parse(path, content), references)
    except Unreadable as error:
        problem = error.text
    except Exception as error:
        problem = f"{type(error).__name__}: {shortened(error)}"
    if problem:
        found.problems.insert(0, submission.Problem("re-run", None, shortened(problem)))
    return found


def once(
    content: bytes, seconds: float, memory: float, at_once: int = 1
) -> tuple[str | None, bytes | None]:
    """Execute one notebook here; return what went wrong and the executed notebook, if any."""
    with tempfile.TemporaryDirectory(prefix="hw4-") as folder:
        source, target = Path(folder, "submitted.ipynb"), Path(folder, "executed.ipynb")
        source.write_bytes(content)
        limits = f"--seconds={seconds}", f"--memory={int(memory * 2**30)}"
        command = execute.command(source, target, "--as-submitted", *limits)
        done = subprocess.Popen(
            [*_without_network(), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=execute.environment(at_once) | {"HOME": folder},
            start_new_session=True,
        )
        try:
            written, _ = done.communicate(timeout=seconds + 120)
        except subprocess.TimeoutExpired:
            done.kill()  # its kernel ends when it misses its parent
            written, _ = done.communicate()
        problem = f"its process ended with code {done.returncode}"
        for line in written.decode("utf-8", "replace").split("\n"):
            problem = (jobs.told(line) or {}).get("problem", problem)
        return problem, target.read_bytes() if target.is_file() else None


def _without_network() -> list[str]:
    """Return the beginning of a command line that runs the rest without a network, if possible."""
    command = ["unshare", "--user", "--map-root-user", "--net"]
    if not shutil.which("unshare"):
        return []
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return command if tried.returncode == 0 else []


def compare(found: Grade, again: Grade) -> None:
    """Name what the re-run measured otherwise than the submission says.

    An exact claim must come out equal. Any other may differ by as much as lies between the new
    value and the mark, or by its tolerance: a claim whose margin is smaller than its own scatter
    decides nothing.
    """
    for problem in again.problems:
        if problem.kind in ("re-run", "error"):
            found.problems.append(
                submission.Problem("re-run", problem.cell, f"the re-run: {problem.text}")
            )
    decided = {claim["id"]: claim for claim in again.claims}
    for claim in found.claims:
        other = decided.get(claim["id"])
        if other is None:
            continue
        claim["evidence"] = "re-run"
        said, measured = claim["measured"], other["measured"]
        if not _agree(said, measured, other):
            text = f"claim {claim['id']} says {shortened(said)}; the re-run measured "
            found.add("re-run", f"{text}{shortened(measured)}")
    found.status = "findings" if found.problems else found.status


def _agree(said: object, measured: object, claim: dict) -> bool:
    if isinstance(measured, list) and isinstance(said, list):
        pairs = zip(said, measured, strict=False)
        return len(said) == len(measured) and all(_agree(a, b, claim) for a, b in pairs)
    numbers = all(
        isinstance(x, int | float) and not isinstance(x, bool)
        for x in (said, measured, claim["expected"])
    )
    if not numbers:
        return said == measured
    if claim["relation"] == "equal":
        return abs(said - measured) <= 2 * claim["tolerance"]
    return abs(said - measured) <= abs(measured - claim["expected"])
