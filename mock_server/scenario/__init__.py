"""What an account's requests will meet."""

from __future__ import annotations

from mock_server.scenario.rules import Rule, rule_of
from mock_server.scenario.scenario import REFUSED, Scenario
from mock_server.scenario.script import Script, Taken, Waiting
from mock_server.scenario.steps import (
    DEFAULT,
    Action,
    Answer,
    Custom,
    Failure,
    RetryAfter,
    Times,
    answer,
    pieces_of,
    stream,
)

__all__ = [
    "DEFAULT",
    "REFUSED",
    "Action",
    "Answer",
    "Custom",
    "Failure",
    "RetryAfter",
    "Rule",
    "Scenario",
    "Script",
    "Taken",
    "Times",
    "Waiting",
    "answer",
    "pieces_of",
    "rule_of",
    "stream",
]
