"""The options of an answer as keywords of a call, for editors and type checkers. Nothing imports it at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mock_server.faults.keywords import DeliveryOptions


class AnswerKeywords(DeliveryOptions, total=False):
    """What `Scripting.reply` and its kin take beside their own; a test keeps it and `AnswerOptions` alike."""

    reasoning: str
    tool_calls: Sequence[Mapping[str, Any]]
    finish_reason: str | None
    search_results: Sequence[str | Mapping[str, Any]]
    usage: Mapping[str, int] | None
    flag: int | None
    need_clear_history: bool
    ban_round: int | None
    truncated: bool | None
    vectors: Sequence[Sequence[float]]
    scores: Sequence[float]
