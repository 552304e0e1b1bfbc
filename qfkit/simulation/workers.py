"""Several policies at once, each in a process. Nobody is left behind: not after an error, not after Ctrl-C."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TypeAlias, cast

from qfkit.clock import SYSTEM_CLOCK
from qfkit.simulation.measures import Outcome, measure
from qfkit.simulation.policies import Contender
from qfkit.simulation.run import Run, TooMuch
from qfkit.simulation.scenario import Scenario

#: Told the policy, its attempts so far, and the simulated time in seconds.
Tell: TypeAlias = Callable[[str, int, float], None]


class WorkerLost(RuntimeError):
    """A process ended in the middle of a simulation."""


@dataclass(frozen=True, slots=True)
class Task:
    """One policy in one situation, to be stopped after so many attempts."""

    scenario: Scenario
    contender: Contender
    most: int

    def do(self, tell: Tell) -> Outcome:
        """Simulate it.

        Raises:
            TooMuch: it made more attempts than it may.
        """
        label, start = self.contender.label, SYSTEM_CLOCK.monotonic()
        run = Run(self.scenario, self.contender, most=self.most, tell=lambda attempts, now: tell(label, attempts, now))
        run.go()
        return measure(run, label, SYSTEM_CLOCK.monotonic() - start)


def share(tasks: Sequence[Task], jobs: int, done: Callable[[Outcome], None], tell: Tell) -> None:
    """Do all ``tasks``, ``jobs`` at once, and tell of each as it ends.

    Raises:
        TooMuch: one made more attempts than it may.
        WorkerLost: a process has died.
    """
    # Fresh interpreters: a fork would carry along whatever threads and locks the caller has.
    context = get_context("spawn")
    left, busy = deque(tasks), 0
    workers: dict[Connection, SpawnProcess] = {}
    try:
        for _ in range(min(jobs, len(tasks))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()  # so that the end of the process is the end of the pipe
            workers[ours] = process
            ours.send(left.popleft())
            busy += 1
        while busy:
            for pipe in cast("list[Connection]", wait(list(workers))):
                said = _hear(pipe, workers[pipe])
                if isinstance(said, TooMuch):
                    raise said
                if isinstance(said, tuple):
                    tell(*said)
                    continue
                done(said)
                busy -= 1
                if left:
                    pipe.send(left.popleft())
                    busy += 1
    finally:
        for pipe, process in workers.items():
            pipe.close()
            process.kill()
            process.join()


def _hear(pipe: Connection, process: SpawnProcess) -> Outcome | TooMuch | tuple[str, int, float]:
    try:
        said: Outcome | TooMuch | tuple[str, int, float] = pipe.recv()
    except (EOFError, ConnectionError):
        process.join()
        raise WorkerLost(
            f"a process of the simulation ended with exit code {process.exitcode} before its work was done; if memory "
            "ran out, simulate fewer clients, or one policy at a time (jobs=1)"
        ) from None
    return said


def _work(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    with suppress(EOFError, ConnectionError):  # the parent needs no more, or is gone
        while True:
            task: Task = pipe.recv()
            pipe.send(_result(task, lambda *said: pipe.send(said)))


def _result(task: Task, tell: Tell) -> Outcome | TooMuch:
    try:
        return task.do(tell)
    except TooMuch as error:
        return error
