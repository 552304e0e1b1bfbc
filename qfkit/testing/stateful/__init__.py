"""A state machine for Hypothesis: a client, the mock, and a model of both. ``docs/strategies.md`` shows it at work.

Subclass `ClientMachine`, say how your client is made and called and what it does when a request fails, and run its
``TestCase``. Needs ``pip install 'qfkit[test]'``.
"""

from __future__ import annotations

from qfkit.testing.stateful.behaviour import Behaviour
from qfkit.testing.stateful.machine import ClientMachine, foretold_scripts
from qfkit.testing.stateful.telling import ModelFailure

__all__ = ["Behaviour", "ClientMachine", "ModelFailure", "foretold_scripts"]
