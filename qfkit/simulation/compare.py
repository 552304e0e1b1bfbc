"""Several policies in the same situation, and which of them to take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qfkit.client.retry import RetryPolicy
from qfkit.clock import SYSTEM_CLOCK
from qfkit.simulation.advice import Advice, advise
from qfkit.simulation.measures import Outcome
from qfkit.simulation.policies import Contender, contenders, default
from qfkit.simulation.run import MOST_ATTEMPTS
from qfkit.simulation.scenario import Scenario
from qfkit.simulation.workers import Task, share

#: Below so many calls in all a second process costs more than it saves.
_WORTH_A_PROCESS: Final = 50_000

#: Real seconds between two words about a policy that takes long.
_PATIENCE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Policies side by side.

    Attributes:
        scenario: what they were put into.
        outcomes: one of each policy, in the order given.
        advice: which of them to take, and why.
        written: label -> what the policy was written as, or its repr.
    """

    scenario: Scenario
    outcomes: Sequence[Outcome]
    advice: Advice
    written: Mapping[str, str]

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
            "policies": [{"policy": self.written[it.label]} | it.to_dict() for it in self.outcomes],
            "recommended": self.advice.label,
            "advice": self.advice.text,
        }


def simulate(
    scenario: Scenario,
    policies: Iterable[str | Contender] | Mapping[str, RetryPolicy] | None = None,
    *,
    jobs: int | None = 1,
    most_attempts: int = MOST_ATTEMPTS,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Put each policy into the situation, and compare.

    The same arguments give the same figures, with any number of processes.

    Args:
        scenario: the situation, as from `scenario`.
        policies: texts as `contender` reads them, or a `RetryPolicy` by name. None for about ten that are in use.
        jobs: processes at once; None for as many as there are cores, and one where the work is small. A program that
            asks for more than one must be importable without running (``if __name__ == "__main__"``).
        most_attempts: of one policy; a simulation that needs more is stopped.
        tell: is told, in words, how far it is, and of each policy that is done.

    Raises:
        ValueError: there is no such policy.
        TooMuch: one of them made more attempts than ``most_attempts``.
        WorkerLost: a process died, of too little memory maybe.
    """
    found = contenders(default(scenario) if policies is None else policies)
    if jobs is None:
        worth = scenario.total * len(found) >= _WORTH_A_PROCESS
        jobs = min(len(found), os.cpu_count() or 1) if worth else 1
    tasks = [Task(scenario, it, most_attempts) for it in found]
    done: dict[str, Outcome] = {}
    told = SYSTEM_CLOCK.monotonic()

    def progress(label: str, attempts: int, now: float) -> None:
        nonlocal told
        if tell is not None and SYSTEM_CLOCK.monotonic() - told >= _PATIENCE:
            told = SYSTEM_CLOCK.monotonic()
            tell(f"{label}: {attempts:,} attempts, {now:.4g} s simulated")

    def note(outcome: Outcome) -> None:
        done[outcome.label] = outcome
        if tell is not None:
            tell(
                f"{len(done)}/{len(tasks)} {outcome.label}: {outcome.attempts:,} attempts, {outcome.finished:.4g} s "
                f"simulated in {outcome.wall:.1f} s"
            )

    if jobs == 1:
        for task in tasks:
            note(task.do(progress))
    else:
        share(tasks, jobs, note, progress)
    outcomes = [done[it.label] for it in found]
    deaf = {it.label for it in found if not it.heeds} if scenario.says_when else set()
    written = {it.label: it.text or repr(it.policy) for it in found}
    return Comparison(scenario, outcomes, advise(scenario, outcomes, deaf), written)
