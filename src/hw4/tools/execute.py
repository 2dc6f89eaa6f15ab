"""Execute notebooks on fresh kernels, in order, and say which cell is running and for how long."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from traitlets.config import Config

from hw4.runtime import NOTEBOOKS
from hw4.tools.colab import bootstrap_cell

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
# For the full profile; a dead kernel is noticed at once, whatever this is.
CELL_TIMEOUT = 4 * 3600
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


def missing() -> list[Path]:
    """Return the paths of the seven notebooks that do not exist."""
    paths = [NOTEBOOKS / f"{stem}.ipynb" for stem in ORDER]
    return [path for path in paths if not path.is_file()]


def run_all(
    sources: list[Path],
    target: Path,
    console: Console,
    verdict: Callable[[Path], str] = lambda path: "executed",
) -> dict[Path, str]:
    """Execute every notebook of `sources` into the folder `target`, going on after failures.

    Each result is written in one step when its notebook ends. A notebook that fails is written
    with its error unless it would replace its own source.

    Args:
        sources: notebooks to execute, each in the folder it lies in.
        target: where the executed notebooks go; may be the folder of the sources.
        console: where progress is shown.
        verdict: from the path of an executed notebook to the words said of it at once.

    Returns:
        What went wrong, for the sources that failed.
    """
    target.mkdir(parents=True, exist_ok=True)
    failed: dict[Path, str] = {}
    for number, source in enumerate(sources, 1):
        start = time.perf_counter()
        try:
            execution = _Execution(source, f"[{number}/{len(sources)}] {source.stem}", console)
            problem = execution.run()
        except nbformat.reader.NotJSONError as error:
            execution, problem = None, f"not a notebook: {error}"
        seconds = f"{time.perf_counter() - start:.0f} s"
        if execution and not (problem and _same(source, target / source.name)):
            # the kernel has added its own exact version of Python
            execution.notebook.metadata = nbformat.from_dict(METADATA)
            write(execution.notebook, target / source.name)
        if problem:
            failed[source] = problem
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


class _Execution:
    """One notebook, read from `source`, executed on a kernel of its own."""

    def __init__(self, source: Path, label: str, console: Console):
        self.notebook = nbformat.read(source, as_version=4)
        for cell in self.notebook.cells:
            if "bootstrap" in cell.metadata.get("tags", []):
                cell.source = bootstrap_cell(source.stem[:2])
        self.folder, self.label, self.console = source.parent, label, console
        self.interrupted = False

    def run(self) -> str | None:
        """Execute all cells; return an account of what went wrong, None if nothing did.

        Raises:
            KeyboardInterrupt: Ctrl-C; the kernel has been shut down.
        """
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        quiet = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=quiet) as progress:
            client = NotebookClient(
                self.notebook,
                timeout=CELL_TIMEOUT,
                startup_timeout=300,
                kernel_name="python3",
                record_timing=False,
                config=KERNEL_CONFIG,
                resources={"metadata": {"path": str(self.folder)}},
                shutdown_kernel="immediate",
                on_notebook_start=self._take_ctrl_c,
                on_cell_execute=self._announcer(progress),
            )
            try:
                client.execute(env=_kernel_environment())
            except CellExecutionError as error:
                return f"{error.ename}: {error.evalue}"
            except (Exception, asyncio.CancelledError) as error:
                if self.interrupted:
                    raise KeyboardInterrupt from None
                return f"{type(error).__name__}: {error}"

    def _announcer(self, progress: Progress) -> Callable:
        """Return the hook that says which cell is running, and for how long."""
        code = [i for i, cell in enumerate(self.notebook.cells) if cell.cell_type == "code"]
        task, start = progress.add_task(self.label), time.perf_counter()

        def announce(cell, cell_index):
            position = code.index(cell_index) + 1
            text = f"{self.label}, cell {position}/{len(code)}"
            progress.reset(task, description=text)
            # in a log no line can be rewritten: show the first cell and every tenth
            if not self.console.is_terminal and (position == 1 or position % 10 == 0):
                _say(self.console, f"{text} after {time.perf_counter() - start:.0f} s")

        return announce

    def _take_ctrl_c(self, **kwargs) -> None:
        """Let Ctrl-C cancel the execution, which then shuts its kernel down.

        nbclient's own handler shuts the kernel down beside the execution, which trips over that.
        """
        execution = asyncio.current_task()

        def cancel():
            self.interrupted = True
            execution.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, cancel)


def _same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _kernel_environment() -> dict[str, str]:
    """Return this process's environment, less the mark of a live notebook (runtime.watched)."""
    return {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
