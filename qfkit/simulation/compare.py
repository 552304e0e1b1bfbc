"""Several policies in the same situation, and which of them to take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Final

from qfkit.client.retry import RetryPolicy
from qfkit.clock import SYSTEM_CLOCK
from qfkit.simulation.advice import Advice, advise
from qfkit.simulation.measures import Outcome, measure
from qfkit.simulation.policies import DEFAULTS, Contender, contenders
from qfkit.simulation.run import MOST_ATTEMPTS, Run
from qfkit.simulation.scenario import Scenario

#: Below so many calls in all a second process costs more than it saves.
_WORTH_A_PROCESS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """Policies side by side.

    Attributes:
        scenario: what they were put into.
        outcomes: one of each policy, in the order given.
        advice: which of them to take, and why.
    """

    scenario: Scenario
    outcomes: Sequence[Outcome]
    advice: Advice

    def __getitem__(self, label: str) -> Outcome:
        """The outcome of a policy by its name.

        Raises:
            KeyError: there is none of that name.
        """
        for outcome in self.outcomes:
            if outcome.label == label:
                return outcome
        raise KeyError(f"no policy {label!r} was simulated; there are {', '.join(it.label for it in self.outcomes)}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "format": 1,
            "scenario": self.scenario.to_dict(),
            "policies": [outcome.to_dict() for outcome in self.outcomes],
            "recommended": self.advice.label,
            "advice": self.advice.text,
        }


def simulate(
    scenario: Scenario,
    policies: Iterable[str | Contender] | Mapping[str, RetryPolicy] | None = None,
    *,
    jobs: int | None = None,
    most_attempts: int = MOST_ATTEMPTS,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Put each policy into the situation, and compare.

    The same arguments give the same figures, with any number of processes.

    Args:
        scenario: the situation, as from `scenario`.
        policies: texts as `contender` reads them, or a `RetryPolicy` by name. None for those of `DEFAULTS`.
        jobs: processes at once; None for as many as there are cores, and one where the work is small.
        most_attempts: of one policy; a simulation that needs more is stopped.
        tell: is told, in words, of each policy that is done.

    Raises:
        ValueError: there is no such policy.
        TooMuch: one of them made more attempts than ``most_attempts``.
    """
    found = contenders(DEFAULTS.get(scenario.name, DEFAULTS["quota"]) if policies is None else policies)
    if jobs is None:
        worth = scenario.total * len(found) >= _WORTH_A_PROCESS
        jobs = min(len(found), os.cpu_count() or 1) if worth else 1
    tasks = [(scenario, it, most_attempts) for it in found]
    done: dict[str, Outcome] = {}

    def note(outcome: Outcome) -> None:
        done[outcome.label] = outcome
        if tell is not None:
            tell(
                f"{len(done)}/{len(tasks)} {outcome.label}: {outcome.attempts:,} attempts, {outcome.finished:.4g} s "
                f"simulated in {outcome.wall:.1f} s"
            )

    if jobs == 1:
        for task in tasks:
            note(_one(*task))
    else:
        # Fresh interpreters: a fork would carry along whatever threads and locks the caller has.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(_one, *task) for task in tasks]
            try:
                for future in as_completed(futures):
                    note(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    outcomes = [done[it.label] for it in found]
    return Comparison(scenario, outcomes, advise(scenario, outcomes))


def _one(scenario: Scenario, contender: Contender, most: int) -> Outcome:
    start = SYSTEM_CLOCK.monotonic()
    run = Run(scenario, contender, most=most)
    run.go()
    return measure(run, contender.label, SYSTEM_CLOCK.monotonic() - start)
