"""Execution of notebooks: order, failures, a dead kernel, and files that are never half-written."""

import io
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from rich.console import Console

from hw4.tools import cli, colab, execute


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def save(folder, name, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells.insert(0, nbformat.v4.new_markdown_cell("Text"))
    path = folder / name
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_failures_do_not_stop_the_rest(tmp_path, console, capfd):
    sources = [
        save(tmp_path, "fails.ipynb", "x = 1", "1 / 0", "x = 3"),
        save(tmp_path, "dies.ipynb", "import os", "os._exit(1)"),
        tmp_path / "broken.ipynb",
        save(tmp_path, "works.ipynb", "import os", "print(os.environ.get('JPY_SESSION_NAME'))"),
    ]
    sources[2].write_text("{")
    start = time.perf_counter()
    failed = execute.run_all(sources, tmp_path / "out", console)
    assert time.perf_counter() - start < 60
    assert [path.stem for path in failed] == ["fails", "dies", "broken"]
    shown = console.file.getvalue()
    assert "fails: FAILED" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "DeadKernelError" in shown
    assert "broken: FAILED after 0 s: not a notebook" in shown
    assert "[4/4] works, cell 1/2" in shown
    book = nbformat.read(tmp_path / "out/works.ipynb", as_version=4)
    assert [cell.get("execution_count") for cell in book.cells] == [None, 1, 2]
    assert book.cells[2].outputs[0].text == "None\n"
    assert book.metadata == execute.METADATA
    assert "execution" not in book.cells[1].metadata
    assert "without encryption" not in capfd.readouterr().err


def test_a_failed_notebook_never_replaces_its_source(tmp_path, console):
    source = save(tmp_path, "fails.ipynb", "1 / 0")
    before = source.read_bytes()
    assert list(execute.run_all([source], tmp_path, console)) == [source]
    assert source.read_bytes() == before


def test_the_bootstrap_cell_is_brought_up_to_date(tmp_path, console):
    source = save(tmp_path, "q5_book.ipynb", "print('an old address')")
    book = nbformat.read(source, as_version=4)
    book.cells[1].metadata["tags"] = ["bootstrap"]
    nbformat.write(book, source)
    assert execute.run_all([source], tmp_path, console) == {}
    assert nbformat.read(source, as_version=4).cells[1].source == colab.bootstrap_cell("q5")


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(tmp_path, "book.ipynb", "x = 1")
    before = path.read_bytes()

    def interrupted(notebook, partial):
        partial.write_text("{ half")
        raise KeyboardInterrupt

    monkeypatch.setattr(nbformat, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute.write(nbformat.v4.new_notebook(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["book.ipynb"]


def test_ctrl_c_stops_at_once_and_leaves_no_kernel_and_no_file(tmp_path):
    source = save(
        tmp_path,
        "sleeps.ipynb",
        "import os; open('pid', 'w').write(str(os.getpid()))",
        "import time; time.sleep(60)",
    )
    code = f"""if True:
        import pathlib, sys
        from rich.console import Console
        from hw4.tools import cli, execute
        cli._run = lambda options: execute.run_all(
            [pathlib.Path({str(source)!r})], pathlib.Path({str(tmp_path / "out")!r}), Console())
        sys.exit(cli.main(["run"]))"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.2)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert said.strip() == "interrupted; what is finished is kept, nothing is half-written"
    assert process.returncode == 130
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_find_takes_beginnings_and_refuses_the_rest(monkeypatch, tmp_path):
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    save(tmp_path, "q7_grad_cam.ipynb", "x = 1")
    save(tmp_path, "q5_conv_shapes.ipynb", "x = 1")
    assert [path.stem for path in execute.find()] == ["q5_conv_shapes", "q7_grad_cam"]
    assert [path.stem for path in execute.find(["notebooks/q7_grad_cam.ipynb"])] == ["q7_grad_cam"]
    with pytest.raises(ValueError, match="must be one of q5_conv_shapes, q7_grad_cam; got 'q9'"):
        execute.find(["q9"])


def test_a_wrong_name_is_a_wrong_call(capsys):
    assert cli.main(["run", "q99"]) == 2
    assert "got 'q99'" in capsys.readouterr().err
