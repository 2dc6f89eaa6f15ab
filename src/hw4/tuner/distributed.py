"""The same search on several processes or machines: Keras Tuner's chief and workers over gRPC.

Three environment variables, which Keras Tuner defines, give every process its part:

====================== =======================================================
KERASTUNER_TUNER_ID    `chief`, or a name of its own for each worker
KERASTUNER_ORACLE_IP   address of the chief
KERASTUNER_ORACLE_PORT port of the chief
====================== =======================================================

The chief keeps the books and the folder; workers train and own nothing but a temporary folder, so
none can delete what is the chief's. A worker's process that dies or falls silent is noticed: it
is heard of at least every quarter of a `lease`; once it is silent for a whole one, its trial goes
to another worker, and a chief without any worker for a lease ends with an error, where Keras
Tuner 1.4.8 waits for ever. A training that never ends is not noticed: its process still answers.
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

from hw4.runtime import integer_setting, search_role, worker_environment
from hw4.tuner.oracles import DIGEST
from hw4.tuner.plan import Plan
from hw4.tuner.running import Search, open_search, progress, records

# Keras Tuner 1.4.8 left a print in the code that sends a condition.
conditions.print = lambda *_: None

LEASE = 60.0
TICK = 0.2
# Seconds in which workers must end after the search; one that started too late would wait on.
PATIENCE = 2


class _Servicer(oracle_chief.OracleServicer):
    """Answers the workers, notes when each was last heard of, and keeps an error for the chief."""

    def __init__(self, oracle):
        super().__init__(oracle)
        self.heard: dict[str, float] = {}
        self.error: Exception | None = None

    def CreateTrial(self, request, context):  # noqa: N802
        self.heard[request.tuner_id] = time.monotonic()
        return self._answer(super().CreateTrial, request, context)

    def GetTrial(self, request, context):  # noqa: N802
        # The request names the trial alone, and a worker sends it as its heartbeat.
        for tuner_id, trial in list(self.oracle.ongoing_trials.items()):
            if trial.trial_id == request.trial_id:
                self.heard[tuner_id] = time.monotonic()
        return self._answer(super().GetTrial, request, context, request.trial_id)

    def UpdateTrial(self, request, context):  # noqa: N802
        return self._answer(super().UpdateTrial, request, context, request.trial_id)

    def EndTrial(self, request, context):  # noqa: N802
        return self._answer(super().EndTrial, request, context, request.trial.trial_id)

    def _answer(self, answer, request, context, trial_id=None):
        if trial_id is not None and trial_id not in self.oracle.trials:
            # Of no harm to this search: a worker of another one has taken the wrong address.
            context.abort(grpc.StatusCode.NOT_FOUND, f"this search has no trial {trial_id}")
        try:
            return answer(request, context)
        except Exception as error:
            self.error = error
            raise


class Chief:
    """Serves an oracle to workers at `address` until its search has ended.

    Args:
        oracle: one of `oracles.ORACLES`, in its folder.
        address: `host:port`; port 0 takes a free one.
        lease: seconds of silence, the start included, after which a worker counts as dead, and
            after which a chief without workers gives up.
        say: where messages about lost workers go.

    Raises:
        ValueError: the address cannot be bound.
    """

    def __init__(self, oracle, address: str, lease: float = LEASE, say=print):
        self.oracle, self.lease, self._say = oracle, lease, say
        self._servicer = _Servicer(oracle)
        # One thread takes Keras Tuner's lock, which stays with it for good when a call raises.
        self._pool = futures.ThreadPoolExecutor(max_workers=1)
        # By default another chief could share the port and take half of the workers' calls.
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
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
            children: workers of this machine by name; their death is seen at once, and one that
                falls silent is killed.

        Raises:
            TimeoutError: all children died, or there has been no worker at all for a lease.
            ConnectionError: the chief could not answer a worker, for instance with a full disk.
        """
        servicer, oracle, last = self._servicer, self.oracle, time.monotonic()
        alone, children = children is None, dict(children or {})
        # Nothing is heard of a child before its first call.
        servicer.heard.update(dict.fromkeys(children, last))
        with progress(oracle) as bar:
            while not (servicer.stop_triggered and not oracle.tuner_ids):
                time.sleep(TICK)
                now = time.monotonic()
                for name, why in self._lost(children, now):
                    if name in children:
                        children.pop(name).kill()
                    if name in oracle.tuner_ids or not servicer.stop_triggered:
                        self._release(name, why)
                bar.update(len(oracle.end_order) - bar.n)
                if servicer.error:
                    raise ConnectionError(self._failed()) from servicer.error
                if oracle.tuner_ids or children:
                    last = now
                elif not servicer.stop_triggered and (not alone or now - last > self.lease):
                    raise TimeoutError(self._deserted())

    def stop(self) -> None:
        """Close the port."""
        self._server.stop(grace=1).wait(timeout=5)

    def _lost(self, children: dict[str, subprocess.Popen], now: float) -> list[tuple[str, str]]:
        """Return the names of workers that have died or fallen silent, each with the reason."""
        lost, heard = [], self._servicer.heard
        for name in sorted({*children, *self.oracle.tuner_ids}):
            if name in children and children[name].poll() is not None:
                lost.append((name, f"ended with exit code {children[name].returncode}"))
            elif now - heard.setdefault(name, now) > self.lease:
                lost.append((name, f"has not been heard of for {self.lease:g} s"))
        return lost

    def _release(self, name: str, why: str) -> None:
        trial = self._pool.submit(self.oracle.release, name).result()
        rest = "it had no trial"
        if trial is not None:
            ended = trial in self.oracle.end_order
            rest = f"trial {int(trial)} {'has ended' if ended else 'goes to another worker'}"
        self._say(f"worker {name} {why}; {rest}")

    def _failed(self) -> str:
        error = self._servicer.error
        return (
            f"chief must answer every call; got {type(error).__name__}: {error}. Mend that and "
            "run the same command again: it goes on from there."
        )

    def _deserted(self) -> str:
        ended, begun = len(self.oracle.end_order), len(self.oracle.trials)
        return (
            f"workers must be running; got none that lives, with {ended} of the {begun} "
            "trials begun so far ended. Run the same command again: it goes on from there."
        )


class _Worker(Search):
    """A search whose oracle is the chief's: `search` runs its part, `run` is for one alone."""

    lease = LEASE

    def run_trial(self, trial, evaluate):
        with _heartbeat(self.oracle, trial.trial_id, self.lease / 4):
            return super().run_trial(trial, evaluate)


def work(plan: Plan, evaluate, lease: float = LEASE) -> None:
    """Run trials for the chief that the environment variables name, until it has no more.

    Raises:
        ValueError: the variables name no worker, or the chief searches by another plan.
        ConnectionError: the chief cannot be reached for a lease, or refuses.
    """
    name = (search_role() or [None])[0]
    if name is None or "chief" in name:
        raise ValueError(
            f"KERASTUNER_TUNER_ID must name a worker; got {name!r}. Set it, and "
            "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT as for the chief."
        )
    # How long Keras Tuner's client waits for an answer, an hour by default.
    oracle_client.TIMEOUT = lease
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:
        worker = _Worker(plan, own)
        worker.lease = lease
        try:
            _agree(worker.oracle.get_space(), plan)
            worker.search(evaluate)
        except grpc.RpcError as error:
            raise ConnectionError(
                f"chief must answer within {lease:g} s; got {error.code().name} "
                f"({error.details()}). Start it, and give every process the same "
                "KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT."
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
        ConnectionError: see `Chief.wait`.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}. Start 2 for instance.")
    oracle = open_search(plan, folder).oracle
    chief, children = Chief(oracle, "127.0.0.1:0", lease, say), {}
    threads = integer_setting("HW4_THREADS", 1, 1024) or max(1, (os.cpu_count() or 1) // workers)
    try:
        for name in (f"worker{i}" for i in range(1, workers + 1)):
            settings = worker_environment(name, chief.port, threads)
            children[name] = subprocess.Popen(command, env=settings)
        chief.wait(children)
    except BaseException:
        for child in children.values():
            child.terminate()
        raise
    finally:
        chief.stop()
        _end(children.values())
    return records(oracle)


def _end(children) -> None:
    """Leave processes that have been told to end a common time for it, then kill them."""
    deadline = time.monotonic() + PATIENCE
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
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
