"""Hypothesis strategies for programs that talk to Qianfan: what they may send, what may come back, in which pieces.

    from hypothesis import given
    from qfkit.testing.strategies import conversations, error_scripts

    @given(conversations("v2"))
    def test_my_trimming(messages): ...

All are made of the tables that the mock and the reference client go by, so they stay in step with them; and all shrink:
each docstring says to what. Needs ``pip install 'qfkit[test]'``. ``docs/strategies.md`` shows them at work.
"""

from __future__ import annotations

from qfkit.testing.strategies.conversations import Conversation, conversations, invalid_conversations
from qfkit.testing.strategies.credentials import credentials
from qfkit.testing.strategies.invalid import Invalid
from qfkit.testing.strategies.options import invalid_options, options
from qfkit.testing.strategies.requests import Request, invalid_requests, requests
from qfkit.testing.strategies.scripts import (
    Quota,
    error_codes,
    error_scripts,
    errors,
    fault_scripts,
    faults,
    harmless_options,
    pieces,
    quotas,
    replies,
)
from qfkit.testing.strategies.steps import Script, Step
from qfkit.testing.strategies.streams import AnswerStream, EventStream, answer_streams, splits, sse_streams
from qfkit.testing.strategies.texts import texts

__all__ = [
    "AnswerStream",
    "Conversation",
    "EventStream",
    "Invalid",
    "Quota",
    "Request",
    "Script",
    "Step",
    "answer_streams",
    "conversations",
    "credentials",
    "error_codes",
    "error_scripts",
    "errors",
    "fault_scripts",
    "faults",
    "harmless_options",
    "invalid_conversations",
    "invalid_options",
    "invalid_requests",
    "options",
    "pieces",
    "quotas",
    "replies",
    "requests",
    "splits",
    "sse_streams",
    "texts",
]
