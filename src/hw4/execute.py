"""Execute notebooks on fresh kernels, in order, and say which cell is running and for how long."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from traitlets.config import Config

from hw4.colab import bootstrap_cell
from hw4.runtime import NOTEBOOKS

# Quickest first, so that a first verdict comes soon.
ORDER = (
    "q5_conv_shapes",
    "q6_batch_norm",
    "q4_rnn_vs_cnn",
    "q3_lstm_forecast",
    "q7_grad_cam",
    "q2_transfer_learning",
    "q1_keras_tuner",
)
CELL_TIMEOUT = 1800
# Without it every kernel starts with a warning that its messages travel in the open.
KERNEL_CONFIG = Config({"KernelManager": {"transport_encryption": "auto"}})
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def find(names: list[str] | None = None) -> list[Path]:
    """Return the notebooks that exist, quickest first, or those that `names` picks.

    Args:
        names: paths, file names, or beginnings of file names such as `q7`.

    Raises:
        ValueError: a name that picks no notebook.
    """
    present = [path for stem in ORDER if (path := NOTEBOOKS / f"{stem}.ipynb").is_file()]
    if not names:
        return present
    picked = []
    for name in names:
        found = [path for path in present if path.stem.startswith(Path(name).stem)]
        if not found:
            known = ", ".join(path.stem for path in present)
            raise ValueError(f"notebook must be one of {known}; got {name!r}. Name one of these.")
        picked += [path for path in found if path not in picked]
    return picked


def run_all(
    sources: list[Path],
    target: Path,
    console: Console,
    verdict: Callable[[Path], str] = lambda path: "executed",
) -> list[Path]:
    """Execute every notebook of `sources` into the folder `target`, going on after failures.

    Each result is written in one step when its notebook ends. A notebook that fails is written
    with its error unless it would replace its own source.

    Args:
        sources: notebooks to execute, each in the folder it lies in.
        target: where the executed notebooks go; may be the folder of the sources.
        console: where progress is shown.
        verdict: from the path of an executed notebook to the words said of it at once.

    Returns:
        The sources that failed.
    """
    target.mkdir(parents=True, exist_ok=True)
    failed = []
    for number, source in enumerate(sources, 1):
        start = time.perf_counter()
        notebook, problem = _run(source, f"[{number}/{len(sources)}] {source.stem}", console)
        seconds = f"{time.perf_counter() - start:.0f} s"
        if not problem or (target / source.name).resolve() != source.resolve():
            # the kernel has added its own exact version of Python
            notebook.metadata = nbformat.from_dict(METADATA)
            write(notebook, target / source.name)
        if problem:
            failed.append(source)
            _say(console, f"{source.stem}: FAILED after {seconds}: {problem}")
        else:
            _say(console, f"{source.stem}: {verdict(target / source.name)} ({seconds})")
    return failed


def write(notebook, path: Path) -> None:
    """Write a notebook so that an interruption leaves the old file or the new one, whole."""
    partial = path.with_suffix(".partial")
    try:
        nbformat.write(notebook, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _run(source: Path, label: str, console: Console):
    """Execute one notebook; return it with an account of what went wrong, None if nothing did."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if "bootstrap" in cell.metadata.get("tags", []):
            cell.source = bootstrap_cell()
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    start, interrupted = time.perf_counter(), []
    shown = {"console": console, "transient": True, "disable": not console.is_terminal}
    with Progress(*columns, **shown) as progress:
        task = progress.add_task(label)

        def on_execute(cell, cell_index):
            position = code.index(cell_index) + 1
            text = f"{label}, cell {position}/{len(code)}"
            progress.update(task, description=text)
            # in a log no line can be rewritten: show the first cell and every tenth
            if not console.is_terminal and (position == 1 or position % 10 == 0):
                _say(console, f"{text} after {time.perf_counter() - start:.0f} s")

        def take_ctrl_c(**kwargs):
            # nbclient's own handler shuts the kernel down beside the execution, which trips over
            # that; cancelled, the execution shuts it down itself, and calls the kernel dead
            def cancel():
                interrupted.append(True)
                execution.cancel()

            execution = asyncio.current_task()
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, cancel)

        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            config=KERNEL_CONFIG,
            resources={"metadata": {"path": str(source.parent)}},
            shutdown_kernel="immediate",
            on_notebook_start=take_ctrl_c,
            on_cell_execute=on_execute,
        )
        try:
            client.execute(env=_kernel_environment())
        except CellExecutionError as error:
            return notebook, f"{error.ename}: {error.evalue}"
        except (CellTimeoutError, DeadKernelError, asyncio.CancelledError) as error:
            if interrupted:
                raise KeyboardInterrupt from None
            return notebook, f"{type(error).__name__}: {error}"
    return notebook, None


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _kernel_environment() -> dict[str, str]:
    """Return this process's environment, less the mark of a live notebook (runtime.watched)."""
    return {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
