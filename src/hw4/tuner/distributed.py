"""The same search on several processes or machines: Keras Tuner's chief and workers over gRPC.

Three environment variables, which Keras Tuner defines, give every process its part:

====================== =======================================================
KERASTUNER_TUNER_ID    `chief`, or a name of its own for each worker
KERASTUNER_ORACLE_IP   address of the chief
KERASTUNER_ORACLE_PORT port of the chief
====================== =======================================================

The chief keeps the books and the folder; workers train and own nothing but a temporary folder, so
none can delete what is the chief's. Every wait is bounded: a worker is heard of at least every
quarter of a `lease`; once it is silent for a whole one, its trial goes to another worker, and a
chief without any worker for a lease ends with an error. Keras Tuner 1.4.8 waits for ever.
"""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from concurrent import futures

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief, oracle_client
from keras_tuner.src.engine import conditions

from hw4.runtime import integer_setting
from hw4.tuner.oracles import DIGEST
from hw4.tuner.plan import Plan
from hw4.tuner.running import Search, open_search, records

# Keras Tuner 1.4.8 left a print in the code that sends a condition.
conditions.print = lambda *_: None

LEASE = 60.0
TICK = 0.2


class _Servicer(oracle_chief.OracleServicer):
    """Answers the workers and notes when each was last heard of."""

    def __init__(self, oracle):
        super().__init__(oracle)
        self.heard: dict[str, float] = {}

    def CreateTrial(self, request, context):  # noqa: N802
        self.heard[request.tuner_id] = time.monotonic()
        return super().CreateTrial(request, context)

    def GetTrial(self, request, context):  # noqa: N802
        # The request names the trial alone, and a worker sends it as its heartbeat.
        for tuner_id, trial in list(self.oracle.ongoing_trials.items()):
            if trial.trial_id == request.trial_id:
                self.heard[tuner_id] = time.monotonic()
        return super().GetTrial(request, context)


class Chief:
    """Serves an oracle to workers at `address` until its search has ended.

    Args:
        oracle: one of `oracles.ORACLES`, in its folder.
        address: `host:port`; port 0 takes a free one.
        lease: seconds of silence after which a worker counts as dead, and after which a chief
            without workers gives up.
        say: where messages about lost workers go.

    Raises:
        ValueError: the address cannot be bound.
    """

    def __init__(self, oracle, address: str, lease: float = LEASE, say=print):
        self.oracle, self.lease, self._say = oracle, lease, say
        self._servicer = _Servicer(oracle)
        # One thread, so that Keras Tuner's lock is never waited for.
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
        protos.get_service_grpc().add_OracleServicer_to_server(self._servicer, self._server)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ValueError(
                f"address must be free and belong to this machine; got {address} ({error}). "
                "Choose another port."
            ) from None
        self._server.start()

    def wait(self, children: dict[str, subprocess.Popen] | None = None) -> None:
        """Return when every trial has ended and every worker has been told so.

        Args:
            children: workers of this machine by name; their death is seen at once.

        Raises:
            TimeoutError: all children died, or there has been no worker at all for a lease.
        """
        alone, last = children is None, time.monotonic()
        children = dict(children or {})
        while not (self._servicer.stop_triggered and not self.oracle.tuner_ids):
            time.sleep(TICK)
            now = time.monotonic()
            for name, child in list(children.items()):
                if child.poll() is not None:
                    del children[name]
                    if not self._servicer.stop_triggered:
                        self._lose(name, f"ended with exit code {child.returncode}")
            for name in list(self.oracle.tuner_ids):
                if now - self._servicer.heard.get(name, now) > self.lease:
                    self._lose(name, f"has not been heard of for {self.lease:g} s")
            if self.oracle.tuner_ids or children:
                last = now
            elif not self._servicer.stop_triggered and (not alone or now - last > self.lease):
                raise TimeoutError(self._deserted())

    def stop(self) -> None:
        """Close the port."""
        self._server.stop(grace=1).wait(timeout=5)

    def _lose(self, name: str, why: str) -> None:
        trial = self.oracle.release(name)
        rest = "it had no trial" if trial is None else f"trial {int(trial)} goes to another worker"
        self._say(f"worker {name} {why}; {rest}")

    def _deserted(self) -> str:
        ended, begun = len(self.oracle.end_order), len(self.oracle.trials)
        return (
            f"workers must be running; got none that lives, with {ended} of the {begun} "
            "trials begun so far ended. Run the same command again: it goes on from there."
        )


class _Worker(Search):
    """A search whose oracle is the chief's."""

    lease = LEASE

    def run_trial(self, trial, evaluate):
        with _heartbeat(self.oracle, trial.trial_id, self.lease / 4):
            return super().run_trial(trial, evaluate)


def work(plan: Plan, evaluate, lease: float = LEASE) -> None:
    """Run trials for the chief that the environment variables name, until it has no more.

    Raises:
        ValueError: the chief searches by another plan.
        ConnectionError: the chief cannot be reached for a lease.
    """
    # How long Keras Tuner's client waits for an answer, an hour by default.
    oracle_client.TIMEOUT = lease
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:
        worker = _Worker(plan, own)
        worker.lease = lease
        try:
            _agree(worker.oracle.get_space(), plan)
            worker.run(evaluate, label=worker.tuner_id)
        except grpc.RpcError as error:
            raise ConnectionError(
                f"chief must answer within {lease:g} s; got {error.code().name}. Start it, and "
                "give every process the same KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT."
            ) from None


def conduct(
    plan: Plan, folder, command: list[str], workers: int, lease: float = LEASE, say=print
) -> list[dict]:
    """Run a whole search on this machine: the chief here, and `workers` processes.

    Args:
        plan: the search.
        folder: where it is kept; an interrupted search goes on.
        command: starts one worker, which must call `work` with an equal plan.
        workers: number of processes, at least 1.
        lease: see `Chief`.
        say: see `Chief`.

    Returns:
        The records of all trials.

    Raises:
        ValueError: fewer than 1 worker, or a folder with another search.
        TimeoutError: all workers ended before the search did.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}. Start 2 for instance.")
    oracle = open_search(plan, folder).oracle
    chief, children = Chief(oracle, "127.0.0.1:0", lease, say), {}
    threads = integer_setting("HW4_THREADS", 1, 1024) or max(1, (os.cpu_count() or 1) // workers)
    try:
        for name in (f"worker{i}" for i in range(1, workers + 1)):
            children[name] = subprocess.Popen([*_settings(name, chief.port, threads), *command])
        chief.wait(children)
    finally:
        chief.stop()
        for child in children.values():
            _end(child)
    return records(oracle)


def _settings(name: str, port: int, threads: int) -> list[str]:
    """Return the beginning of a command line that gives a worker its part and its cores."""
    part = {"TUNER_ID": name, "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": port}
    settings = [f"KERASTUNER_{key}={value}" for key, value in part.items()]
    return ["env", f"HW4_THREADS={threads}", *settings]


def _end(child: subprocess.Popen) -> None:
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _agree(space, plan: Plan) -> None:
    found = next((hp.value for hp in space.space if hp.name == DIGEST), None)
    if found != plan.digest():
        raise ValueError(
            f"plan must be the chief's; got {plan.digest()}, and the chief has {found}. Start "
            "chief and workers with the same options and the same data."
        )


@contextlib.contextmanager
def _heartbeat(oracle, trial_id: str, interval: float):
    """Let the chief hear of this worker while a trial runs."""
    ended = threading.Event()

    def beat():
        while not ended.wait(interval):
            # A chief that is gone shows when the trial is reported.
            with contextlib.suppress(grpc.RpcError):
                oracle.get_trial(trial_id)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
