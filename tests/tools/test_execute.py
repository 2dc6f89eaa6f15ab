"""Execution of notebooks: order, failures, a dead kernel, and files that are never half-written."""

import io
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from rich.console import Console

from hw4.tools import check, cli, colab, execute, jobs, kernel, submission

pytestmark = pytest.mark.slow


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
    assert {path.stem for path in failed} == {"fails", "dies", "broken"}
    assert failed[sources[0]] == "ZeroDivisionError: division by zero"
    shown = console.file.getvalue()
    assert "fails: FAILED" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "DeadKernelError" in shown
    assert re.search(r"broken: FAILED after \d+ s: not a notebook", shown)
    assert "] works, cell 1/2" in shown
    book = nbformat.read(tmp_path / "out/works.ipynb", as_version=4)
    assert [cell.get("execution_count") for cell in book.cells] == [None, 1, 2]
    assert book.cells[2].outputs[0].text == "None\n"
    assert book.metadata.pop("hw4")["seconds"] > 0
    assert book.metadata == kernel.METADATA
    assert "execution" not in book.cells[1].metadata
    assert "without encryption" not in capfd.readouterr().err


def test_no_grammar_is_built_before_notebooks_are_read():
    assert "jsonschema" in sys.modules
    assert sys.modules["rfc3987_syntax"] is None


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


def running(folder, number=signal.SIGINT, when="executing"):
    """Run a notebook that sleeps, send a signal when it has come so far, and return all of it."""
    source = save(
        folder,
        "sleeps.ipynb",
        "import os; open('pid', 'w').write(str(os.getpid()))",
        "import time; time.sleep(60)",
    )
    code = f"""if True:
        import pathlib, signal, sys
        from rich.console import Console
        from hw4.tools import cli, execute
        # a shell makes its background jobs, and so this, ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        cli._run = lambda options: print("begins", flush=True) or execute.run_all(
            [pathlib.Path({str(source)!r})] * 2, pathlib.Path({str(folder / "out")!r}),
            Console(stderr=True), most=2)
        sys.exit(cli.main(["run"]))"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    pid = folder / "pid"
    if when == "executing":
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.2)
    time.sleep(1)
    process.send_signal(number)
    said = process.communicate(timeout=40)[1]
    return process.returncode, said, pid


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("when", ["executing", "starting"])
def test_a_signal_stops_at_once_and_leaves_no_kernel_and_no_file(tmp_path, number, code, when):
    returned, said, pid = running(tmp_path, number, when)
    assert "interrupted; what is finished is kept, nothing is half-written" in said
    assert "Error" not in said
    assert returned == code
    assert list((tmp_path / "out").iterdir()) == []
    if when == "executing":
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_a_damaged_source_leaves_no_result_of_yesterday(tmp_path, console):
    source = tmp_path / "broken.ipynb"
    source.write_text("{")
    (tmp_path / "out").mkdir()
    save(tmp_path / "out", "broken.ipynb", "print('confirmed')")
    assert "not a notebook" in execute.run_all([source], tmp_path / "out", console)[source]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_result_that_cannot_be_written_is_one_line(tmp_path, console):
    source = save(tmp_path, "works.ipynb", "x = 1")
    (tmp_path / "out/works.ipynb/taken").mkdir(parents=True)
    (problem,) = execute.run_all([source], tmp_path / "out", console, most=1).values()
    assert problem.startswith("IsADirectoryError")
    assert "Traceback" not in console.file.getvalue()


def test_nobodys_start_up_files_are_run(tmp_path, console, monkeypatch):
    startup = tmp_path / "home/.ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text("x = 'mine'")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "home/.ipython"))
    asks = "import time\nprint(1, flush=True)\ntime.sleep(0.5)\nprint('x' in dir())"
    source = save(tmp_path, "asks.ipynb", asks)
    assert execute.run_all([source], tmp_path / "out", console) == {}
    # what comes in two messages is one text, as a person sees it
    (output,) = submission.read(tmp_path / "out/asks.ipynb").code[0].outputs
    assert submission.joined(output["text"]) == "1\nFalse\n"
    assert "IPython" not in console.file.getvalue()


def test_text_stays_where_it_was_printed(tmp_path, console):
    shows = "print('a', flush=True)\ndisplay(1)\nprint('b', flush=True)\nprint('c', flush=True)"
    source = save(tmp_path, "shows.ipynb", shows)
    assert execute.run_all([source], tmp_path / "out", console) == {}
    outputs = submission.read(tmp_path / "out/shows.ipynb").code[0].outputs
    kinds = [output["output_type"] for output in outputs]
    assert kinds == ["stream", "display_data", "stream"]
    assert [submission.joined(outputs[i]["text"]) for i in (0, 2)] == ["a\n", "b\nc\n"]


def test_two_runs_at_once_read_whole_files(tmp_path):
    source = save(tmp_path, "works.ipynb", "print('x' * 300_000)")
    code = f"""if True:
        import pathlib, sys
        from rich.console import Console
        from hw4.tools import execute, submission
        source, out = pathlib.Path({str(source)!r}), pathlib.Path({str(tmp_path / "out")!r})
        for _ in range(2):
            verdict = lambda path: str(len(submission.read(path).code))
            assert execute.run_all([source], out, Console(), verdict) == {{}}"""
    runs = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [run.wait(120) for run in runs] == [0, 0]


def test_the_first_verdict_comes_soon_then_the_longest_first():
    sources = execute.find()
    names = [path.stem[:2] for path in execute.schedule(sources, most=2)]
    assert names == ["q5", "q1", "q2", "q7", "q3", "q4", "q6"]
    assert execute.schedule(sources, most=1) == sources


@pytest.mark.parametrize(
    ("cores", "gigabytes", "expected"), [(1, 64, 1), (2, 23, 2), (16, 7, 2), (8, 1, 1), (32, 99, 7)]
)
def test_jobs_at_once_follow_cores_and_memory(monkeypatch, cores, gigabytes, expected):
    monkeypatch.setattr(jobs, "cores", lambda: cores)
    monkeypatch.setattr(jobs, "_free_memory", lambda: gigabytes * 2**30)
    assert jobs.at_once(7) == expected


def test_notebooks_at_once_share_the_cores(monkeypatch):
    monkeypatch.setattr(execute, "cores", lambda: 8)
    monkeypatch.delenv("HW4_THREADS", raising=False)
    assert execute.environment(3)["HW4_THREADS"] == "2"
    assert "HW4_THREADS" not in execute.environment(1)
    monkeypatch.setenv("HW4_THREADS", "5")
    assert execute.environment(3)["HW4_THREADS"] == "5"


def test_variables_are_set_for_the_kernels_alone(tmp_path, console, monkeypatch):
    monkeypatch.setenv("HW4_SEED", "1")
    source = save(tmp_path, "asks.ipynb", "import os", "print(os.environ['HW4_SEED'])")
    out = tmp_path / "out"
    assert execute.run_all([source], out, console, variables={"HW4_SEED": "2"}) == {}
    book = nbformat.read(out / "asks.ipynb", as_version=4)
    assert book.cells[2].outputs[0].text == "2\n"
    assert os.environ["HW4_SEED"] == "1"


def test_free_memory_is_a_sensible_number():
    assert 2**20 < jobs._free_memory() < 2**50


def test_what_commands_write_at_once_is_not_mixed(capsys):
    code = "import time\nfor i in range(5): print('{}', i, flush=True); time.sleep(.1)"
    work = [jobs.Job(name, [sys.executable, "-c", code.format(name)]) for name in "ab"]
    work.append(jobs.Job("dies", [sys.executable, "-c", "import os; os._exit(3)"]))
    assert check._run(work, 3) == {"a": True, "b": True, "dies": False}
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:2] in ("a ", "b ")]
    assert "".join(line[0] for line in lines) in ("aaaaabbbbb", "bbbbbaaaaa")


def test_a_program_left_behind_does_not_hold_us_up(monkeypatch):
    monkeypatch.setattr(jobs, "SILENCE", 2)
    left = "import time; time.sleep(40)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {left!r}])"
    start = time.perf_counter()
    work = [jobs.Job("leaves", [sys.executable, "-c", code])]
    assert [line for _, line in jobs.run(work, 1, dict(os.environ))] == [None, None]
    assert work[0].code == 0
    assert time.perf_counter() - start < 35


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows has no groups of processes")
def test_what_a_stopped_command_has_started_is_stopped_with_it(tmp_path):
    beats = tmp_path / "beats"
    child = f"""import time; beats = open({str(beats)!r}, "w")
for beat in range(600): print(beat, file=beats, flush=True); time.sleep(.1)"""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    work = [jobs.Job("starts", [sys.executable, "-c", code])]
    events = jobs.run(work, 1, dict(os.environ))
    assert next(events) == (work[0], None)
    while not (beats.exists() and beats.stat().st_size):
        time.sleep(0.1)
    events.close()
    heard = beats.read_text()
    time.sleep(1)
    assert beats.read_text() == heard


def test_checks_say_what_failed(monkeypatch, capsys):
    monkeypatch.setattr(check, "_lint", lambda: {"ruff check": True})
    monkeypatch.setattr(check, "_unit", lambda name, most, *chosen: {name: False})
    assert cli.main(["test", "lint"]) == 0
    assert cli.main(["test", "lint", "unit"]) == 1
    assert capsys.readouterr().out.endswith("1 passed, 1 failed: unit tests\n")
    assert cli.main(["test", "notebook"]) == 2


def test_find_takes_beginnings_and_refuses_the_rest(monkeypatch, tmp_path):
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    save(tmp_path, "q7_grad_cam.ipynb", "x = 1")
    save(tmp_path, "q5_conv_shapes.ipynb", "x = 1")
    assert [path.stem for path in execute.find()] == ["q5_conv_shapes", "q7_grad_cam"]
    assert [path.stem for path in execute.find([f"{tmp_path}/q7_grad_cam"])] == ["q7_grad_cam"]
    for name in ("q9", "", "."):
        with pytest.raises(ValueError, match=f"one of q5_conv_shapes, q7_grad_cam; got '{name}'"):
            execute.find([name])


def test_somebody_elses_notebook_is_not_taken_for_the_projects(monkeypatch, tmp_path):
    save(tmp_path, "q5_conv_shapes.ipynb", "x = 1")
    monkeypatch.chdir(tmp_path)
    for name in (f"{tmp_path}/q5_conv_shapes.ipynb", "q5_conv_shapes.ipynb", "elsewhere/q5"):
        with pytest.raises(ValueError, match=rf"the project's own, in .*; got '{name}'\. `hw4 gra"):
            execute.find([name])


def test_a_refused_run_leaves_the_last_report(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "REPORT", tmp_path)
    (tmp_path / "index.html").write_text("the last one")
    assert cli.main(["run", "q5", "--jobs", "0"]) == 2
    assert (tmp_path / "index.html").read_text() == "the last one"


def test_a_wrong_name_is_a_wrong_call(capsys):
    assert cli.main(["run", "q99"]) == 2
    assert "got 'q99'" in capsys.readouterr().err
