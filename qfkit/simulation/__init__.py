"""Retry policies in a simulated service: the client's `RetryPolicy` against the mock's own quota, on a simulated clock.

``scenario`` says what is simulated, ``policies`` who contends, ``agenda`` what happens when, ``service`` what becomes
of an attempt, ``run`` puts them together, ``measures`` and ``advice`` make something of it, ``report`` and ``chart``
show it; ``workers`` puts policies into processes.

This room alone knows both ends of the wire: it needs the policy of the one and the quota of the other. Nothing is
sent.
"""

from __future__ import annotations

from qfkit.simulation.advice import Advice
from qfkit.simulation.compare import Comparison, simulate
from qfkit.simulation.measures import Outcome, amplification, jain
from qfkit.simulation.policies import Contender, LibraryPolicy, contender
from qfkit.simulation.run import TooMuch
from qfkit.simulation.scenario import SCENARIOS, Scenario, scenario
from qfkit.simulation.workers import WorkerLost

__all__ = [
    "SCENARIOS",
    "Advice",
    "Comparison",
    "Contender",
    "LibraryPolicy",
    "Outcome",
    "Scenario",
    "TooMuch",
    "WorkerLost",
    "amplification",
    "contender",
    "jain",
    "scenario",
    "simulate",
]
