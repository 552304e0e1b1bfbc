"""What an account's requests will meet."""

from __future__ import annotations

from mock_server.scenario.script import Script, Taken
from mock_server.scenario.steps import DEFAULT, Action, Answer, Failure, RetryAfter, answer, pieces_of, stream

__all__ = [
    "DEFAULT",
    "Action",
    "Answer",
    "Failure",
    "RetryAfter",
    "Script",
    "Taken",
    "answer",
    "pieces_of",
    "stream",
]
