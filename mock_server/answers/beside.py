"""What an answer has beside its text, in terms that all dialects share (wire reference 3.3, 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from mock_server.faults import options as rules
from mock_server.faults.options import Options, Rule, option
from mock_server.faults.stream import Delivery

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def _calls() -> Rule:
    def convert(value: Any) -> tuple[dict[str, Any], ...]:
        calls = tuple([dict(call) for call in value])
        if any(not isinstance(call.get("name"), str) for call in calls):
            raise ValueError
        return calls

    return Rule("a list of calls, and a tool call is {'name': ..., 'arguments': ...}", convert)


def _results() -> Rule:
    def convert(value: Any) -> tuple[dict[str, Any], ...]:
        if isinstance(value, (str, Mapping)):
            raise TypeError
        results = [{"url": each} if isinstance(each, str) else dict(each) for each in value]
        if any(not isinstance(each.get("url"), str) for each in results):
            raise ValueError
        return tuple([{"index": number, "title": "", **each} for number, each in enumerate(results, 1)])

    return Rule("a list of results, each a URL or {'url': ..., 'title': ...}", convert)


def _usage() -> Rule:
    def convert(value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        usage = dict(value)
        if not usage or any(type(usage.get(name, 0)) is not int or usage.get(name, 0) < 0 for name in _COUNTS):
            raise ValueError
        return usage

    return Rule(f"numbers of tokens, {{'{_COUNTS[0]}': 5, '{_COUNTS[1]}': 7}} or one of them, or None", convert)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise ValueError
    return value


def _vectors() -> Rule:
    def convert(value: Any) -> tuple[tuple[float, ...], ...]:
        vectors = tuple([tuple(map(_number, vector)) for vector in value])
        if not all(vectors):
            raise ValueError
        return vectors

    return Rule("a list of vectors, each a list of finite numbers such as [0.6, 0.8]", convert)


def _scores() -> Rule:
    return Rule("a list of finite numbers", lambda value: tuple(map(_number, value)))


def _optional_flag() -> Rule:
    def convert(value: Any) -> bool | None:
        return None if value is None else bool(rules.flag().check("", value))

    return Rule("True, False or None", convert)


@dataclass(frozen=True, eq=False)
class Beside(Options):
    """What an answer has beside its text. Two are the same when they are one, so that answers may be remembered."""

    reasoning: str = option("", rules.text(), "v2 `reasoning_content`: the thoughts of a reasoning model")
    tool_calls: tuple[dict[str, Any], ...] = option(
        (), _calls(), "v2 `tool_calls`; v1 has room for the first, as `function_call`"
    )
    finish_reason: str | None = option(
        None, rules.text(optional=True), "instead of the service's own for such an answer"
    )
    search_results: tuple[dict[str, Any], ...] = option(
        (), _results(), "what a search found: v2 `search_results`, v1 `search_info`; in a stream, at its end"
    )
    usage: Mapping[str, Any] | None = option(None, _usage(), "given instead of counted; what is left out is counted")
    flag: int | None = option(
        None,
        rules.whole(0, 4, "0 safe, 1 low risk, 2 banned topic but showable, 3 not showable, 4 withdraw", optional=True),
        "the verdict of the content filter",
    )
    need_clear_history: bool = option(False, rules.flag(), "the conversation so far should be dropped")
    ban_round: int | None = option(
        None,
        rules.whole(-1, 10**6, "the number of a round, or -1 for the current question", optional=True),
        "which round was unsafe; -1 where `need_clear_history` is given alone",
    )
    truncated: bool | None = option(
        None, _optional_flag(), "the answer was cut by its length: v1 `is_truncated`, and `finish_reason: length`"
    )
    vectors: tuple[tuple[float, ...], ...] = option(
        (), _vectors(), "what `embeddings` answers: the vector of each input in turn; of more inputs it is made up"
    )
    scores: tuple[float, ...] = option(
        (), _scores(), "what `rerank` answers: the relevance of each document in turn; of more documents it is made up"
    )


#: What an answer has that was given nothing beside its text.
NOTHING = Beside()


@dataclass(frozen=True, eq=False)
class AnswerOptions(Beside, Delivery):
    """Everything that may be said of an answer: what it has beside its text, and what happens to it on its way."""
