"""Execute one notebook on a fresh kernel, as a process of its own: `execute` starts it.

It writes what happens as lines of JSON, each after `MARK`; anything else on its output comes from
the kernel.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from hw4 import runtime
from hw4.tools.colab import bootstrap_cell
from hw4.tools.jobs import MARK

# For the full profile; a dead kernel is noticed at once, whatever this is.
CELL_TIMEOUT = 4 * 3600
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> int:
    """Execute the notebook that the command line names; return 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--folder", type=Path, help="where the cells run; the source's by default")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--memory", type=int, help="bytes of address space, for the kernel too")
    parser.add_argument("--as-submitted", action="store_true", help="change no cell")
    options = parser.parse_args()
    if options.memory and os.name == "posix":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    start = time.perf_counter()
    try:
        problem, written = _execute(options, start)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except Exception as error:
        problem, written = f"{type(error).__name__}: {error}", False
        if isinstance(error, nbformat.reader.NotJSONError):
            problem = f"not a notebook: {error}"
    say(problem=problem, written=written, seconds=time.perf_counter() - start)
    return 1 if problem else 0


def say(**what: object) -> None:
    """Tell the process that started this one."""
    print(MARK + json.dumps(what), flush=True)


def _execute(options: argparse.Namespace, start: float) -> tuple[str | None, bool]:
    source, target = options.source, options.target
    notebook = nbformat.read(source, as_version=4)
    if not options.as_submitted:
        for cell in notebook.cells:
            if "bootstrap" in cell.metadata.get("tags", []):
                cell.source = bootstrap_cell(source.stem[:2])
    folder = options.folder or source.parent
    # sockets go there; a kernel that outlives them must not keep us from ending
    with tempfile.TemporaryDirectory(prefix="hw4-", ignore_cleanup_errors=True) as sockets:
        problem = _run(notebook, folder, options.seconds, sockets)
    in_place = source.resolve() == target.resolve()
    if problem and in_place:
        return problem, False
    # the kernel has added its own exact version of Python
    notebook.metadata = nbformat.from_dict(METADATA)
    if not in_place:
        # a committed notebook must not differ with every run
        notebook.metadata["hw4"] = {"seconds": round(time.perf_counter() - start, 1)}
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = list(_joined(cell.outputs))
    runtime.write_whole(target, nbformat.writes(notebook) + "\n")
    return problem, True


def _joined(outputs: list[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """Keep as one text what came in several messages.

    nbclient's `coalesce_streams` needs half an hour for a line of a million signs (its search for
    carriage returns is quadratic), and no time limit stops it; it also moves text before a figure.
    """
    for _, group in itertools.groupby(outputs, key=lambda output: output.get("name", id(output))):
        first, *others = group
        if others:
            first.text += "".join(output.text for output in others)
        yield first


def _run(
    notebook: nbformat.NotebookNode, folder: Path, seconds: float | None, sockets: str
) -> str | None:
    """Execute all cells; return an account of what went wrong, None if nothing did.

    Raises:
        KeyboardInterrupt: a signal; the kernel has been shut down.
    """
    interrupted = []

    class Client(NotebookClient):
        async def async_start_new_kernel(self, **kwargs) -> None:
            # nbclient's own handler shuts the kernel down beside the execution, which trips over
            # that; ours is there before the kernel
            execution, loop = asyncio.current_task(), asyncio.get_running_loop()

            def cancel(reason) -> None:
                interrupted.append(reason)
                execution.cancel()

            with contextlib.suppress(NotImplementedError):  # Windows
                for number in (signal.SIGINT, signal.SIGTERM):
                    loop.add_signal_handler(number, cancel, "signal")
            if seconds:
                loop.call_later(seconds, cancel, "time")
            await super().async_start_new_kernel(**kwargs)

    client = Client(
        notebook,
        timeout=CELL_TIMEOUT,
        startup_timeout=300,
        kernel_name="python3",
        record_timing=False,
        config=_kernel_config(sockets),
        resources={"metadata": {"path": str(folder)}},
        shutdown_kernel="immediate",
        on_cell_execute=_announcer(notebook),
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except (Exception, asyncio.CancelledError) as error:
        if "signal" in interrupted:
            raise KeyboardInterrupt from None
        if "time" in interrupted:
            return f"TimeLimit: stopped after {seconds:.0f} s"
        return f"{type(error).__name__}: {error}"
    return None


def _kernel_config(sockets: str) -> Config:
    if os.name == "posix":
        # sockets in a file system: no port is open, and a process without a network has them too
        return Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
    # without it every kernel starts with a warning that its messages travel in the open
    return Config({"KernelManager": {"transport_encryption": "auto"}})


def _announcer(notebook: nbformat.NotebookNode) -> Callable:
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def announce(cell, cell_index) -> None:
        say(cell=code.index(cell_index) + 1, of=len(code))

    return announce


if __name__ == "__main__":
    sys.exit(main())
