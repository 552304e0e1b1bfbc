"""Is a client of Qianfan sound? A suite of tests for any client, in any style: see ``docs/conformance.md``.

    class TestMine(Conformance):
        dialect = "v2"
        def make(self, env): return MyClient(env["OPENAI_BASE_URL"], env["OPENAI_API_KEY"])
        def call(self, prompt): return self.client.ask(prompt)
        def stream(self, prompt): yield from self.client.ask_stream(prompt)

Nothing is loaded before a name is asked for (PEP 562): the hooks beside it are part of every pytest run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qfkit.testing.conformance.case import AREAS, Case, Expected, Outcome
    from qfkit.testing.conformance.judging import NotConforming
    from qfkit.testing.conformance.stage import Stage
    from qfkit.testing.conformance.suite import Conformance, conformance
    from qfkit.testing.conformance.table import CASES

_HOMES = {
    "AREAS": "case",
    "CASES": "table",
    "Case": "case",
    "Conformance": "suite",
    "Expected": "case",
    "NotConforming": "judging",
    "Outcome": "case",
    "Stage": "stage",
    "conformance": "suite",
}

__all__ = ["AREAS", "CASES", "Case", "Conformance", "Expected", "NotConforming", "Outcome", "Stage", "conformance"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
