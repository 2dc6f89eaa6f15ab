"""Re-running submissions: limits hold, a killed worker loses nothing, made-up numbers are named."""

import json
import os
import signal
import threading
import time

import nbformat
import pytest

from hw4.claims import MIME, REQUIRED, Claim, Claims, shown
from hw4.tools import cli, rerun
from hw4.tools.grade import Grade, References

pytestmark = pytest.mark.slow

SOURCES = [
    'import random\nfrom hw4.claims import Claims\n\nclaims = Claims("q7", {"seed": 7})',
    "accuracy = 0.995 + random.random() / 10000",
    "\n".join(
        f'claims.at_least("{id_}", "accuracy", reported=0.9921, measured=accuracy, mark=0.9935)'
        for id_ in REQUIRED["q7"]
    ),
    "claims.show()",
]


def book(measured=0.9951, sources=SOURCES):
    """Return the notebook as it is after an execution that measured so much."""
    claims = Claims("q7", {"seed": 7})
    for id_ in REQUIRED["q7"]:
        claims.at_least(id_, "accuracy", reported=0.9921, measured=measured, mark=0.9935)
    cells = [
        nbformat.v4.new_code_cell(source, id=f"c{count}", execution_count=count)
        for count, source in enumerate(sources, 1)
    ]
    data = claims._repr_mimebundle_()
    cells[-1].outputs = [nbformat.v4.new_output("display_data", data=data)]
    return nbformat.v4.new_notebook(cells=cells)


def save(book, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(book), encoding="utf-8")
    return path


def spoiled(line):
    return book(sources=[SOURCES[0], f"{SOURCES[1]}\n{line}", *SOURCES[2:]])


@pytest.mark.parametrize(
    ("relation", "expected", "tolerance", "said", "measured", "agrees"),
    [
        ("equal", 7, 0, 7, 7, True),
        ("equal", 7, 0, 8, 7, False),
        ("equal", [7, [8]], 0, [7, [8]], [7, [8]], True),
        ("equal", [7, [8]], 0, [7, [9]], [7, [8]], False),
        ("equal", "one class", 0, "one class", "one class", True),
        ("equal", 0.5, 0.01, 0.505, 0.495, True),
        ("equal", 0.5, 0.01, 0.53, 0.5, False),
        ("at_least", 0.9935, 0, 0.9941, 0.9952, True),
        ("at_least", 0.9935, 0, 0.9999, 0.9952, False),
        ("at_least", 10, 0, 300.0, 500.0, True),
        ("at_most", 0, 0, 0.0, 0.0, True),
        ("at_most", 0, 0, None, 0.0, False),
    ],
)
def test_measurements_are_compared_by_the_margin(
    relation, expected, tolerance, said, measured, agrees
):
    claim = {"id": "a", "relation": relation, "expected": expected, "tolerance": tolerance}
    found = Grade(None, claims=[claim | {"measured": said, "evidence": ""}])
    rerun.compare(found, Grade(None, claims=[claim | {"measured": measured}]))
    assert found.claims[0]["evidence"] == "re-run"
    assert (found.status == "ok") is agrees
    assert bool(found.problems) is not agrees


@pytest.fixture(scope="module")
def content():
    return {
        "sleeps": json.dumps(spoiled("import time; time.sleep(600)")).encode(),
        "dies": json.dumps(spoiled("import os; os._exit(9)")).encode(),
        "eats": json.dumps(spoiled("x = bytearray(20 * 2**30)")).encode(),
        "calls": json.dumps(
            spoiled("import socket; socket.create_connection(('192.0.2.1', 80), 20)")
        ).encode(),
    }


def test_time_is_limited(content):
    start = time.perf_counter()
    problem, _ = rerun.once(content["sleeps"], seconds=3, memory=16)
    assert problem == "TimeLimit: stopped after 3 s"
    assert time.perf_counter() - start < 200


def test_a_kernel_that_dies_is_noticed(content):
    problem, executed = rerun.once(content["dies"], seconds=300, memory=16)
    assert problem.startswith("DeadKernelError")
    assert b"Claims" in executed


def test_memory_is_limited(content):
    problem, _ = rerun.once(content["eats"], seconds=300, memory=16)
    assert problem.startswith("MemoryError")


@pytest.mark.skipif(not rerun._without_network(), reason="this system cuts no network off")
def test_the_network_is_cut_off(content):
    problem, _ = rerun.once(content["calls"], seconds=300, memory=16)
    assert problem.startswith("OSError: [Errno 101]")  # network is unreachable


def kill_a_worker(cluster, killed):
    """Kill one of the workers as soon as it has a notebook to run."""
    while not killed.is_set():
        for worker in cluster.scheduler.workers.values():
            if worker.processing:
                os.kill(cluster.workers[worker.name].process.pid, signal.SIGKILL)
                killed.set()
                return
        time.sleep(0.1)


def test_a_killed_worker_loses_nothing_and_made_up_numbers_are_named(tmp_path, capsys):
    from distributed import LocalCluster

    save(book(), tmp_path / "reference/q7_grad_cam.ipynb")
    save(book(0.9950), tmp_path / "submitted/honest/q7.ipynb")
    forged = book()
    data = forged.cells[-1].outputs[0].data
    for claim in data[MIME]["claims"]:
        claim["measured"] = 0.9999
    data.update(shown([Claim(**claim) for claim in data[MIME]["claims"]]))
    save(forged, tmp_path / "submitted/made-up/q7.ipynb")
    (tmp_path / "submitted/broken.ipynb").write_text("{")
    killed = threading.Event()
    with LocalCluster(
        2, threads_per_worker=1, memory_limit=0, dashboard_address=None, processes=True
    ) as cluster:
        thread = threading.Thread(target=kill_a_worker, args=(cluster, killed), daemon=True)
        thread.start()
        call = ["grade", str(tmp_path / "submitted"), "--reference", str(tmp_path / "reference")]
        call += ["--json", "--rerun", "--scheduler", cluster.scheduler_address]
        assert cli.main(call) == 1
        thread.join(5)
    assert killed.is_set()
    found = json.loads(capsys.readouterr().out)["submissions"]
    broken, honest, made_up = found
    assert broken["status"] == "unreadable"
    assert (honest["status"], honest["problems"]) == ("ok", [])
    assert {claim["evidence"] for claim in honest["claims"]} == {"re-run"}
    assert {problem["kind"] for problem in made_up["problems"]} == {"re-run"}
    assert "claim 7-a says 0.9999; the re-run measured 0.995" in made_up["problems"][0]["text"]


@pytest.mark.parametrize("option", [["--workers", "0"], ["--seconds", "-1"], ["--memory", "nan"]])
def test_wrong_limits_are_refused(tmp_path, capsys, option):
    path = save(book(), tmp_path / "q7.ipynb")
    assert cli.main(["grade", str(path), "--rerun", *option]) == 2
    assert f"{option[0][2:]} must be a positive number; got" in capsys.readouterr().err


def test_references_of_this_file_are_sound(tmp_path):
    save(book(), tmp_path / "q7_grad_cam.ipynb")
    assert list(References(tmp_path)) == ["q7"]
