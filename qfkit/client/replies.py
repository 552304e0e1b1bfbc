"""What `Client.chat` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qfkit.client.attempts import Attempt
from qfkit.protocol.messages import ChatReply, Json, Usage

if TYPE_CHECKING:
    from qfkit.client.safety.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer, and how it was come by. ``str(reply)`` is its text.

    Attributes:
        text: the answer.
        reasoning: a reasoning model's thoughts (v2), else empty.
        usage: tokens that the service counted, None when it did not say.
        finish_reason: why the answer ended there, in the dialect's own word.
        tool_calls: what the model wants called: OpenAI's shape in v2, the one ``function_call`` in v1.
        id: the service's id of the answer.
        model: the model that answered (v2), or that was asked (v1).
        is_truncated: the answer was cut off by its length limit.
        need_clear_history: the service asks to drop the conversation (v1, 3.3).
        flag: the service's safety mark, 0 when nothing was found (4.2).
        ban_round: the round of the conversation that the mark is about, -1 for the current question; None when the
            service does not say (3.3).
        request_id: the service's id of the request, to quote to its support.
        attempts: the HTTP requests that it took.
        latency: seconds from the call to the end of the answer, waits included.
        headers: of the answer; names in any case.
        raw: the answer's JSON; for a stream the last event's.
        cached: it comes from the client's cache, and ``attempts`` is empty; ``request_id`` is of the request that was
            once made for it.
        safety: what the rules of a `Safety` did to the question and the answer. ``raw`` is as the service sent it.
    """

    text: str
    reasoning: str = ""
    usage: Usage | None = None
    finish_reason: str | None = None
    tool_calls: tuple[Json, ...] = ()
    id: str | None = None
    model: str | None = None
    is_truncated: bool = False
    need_clear_history: bool = False
    flag: int = 0
    ban_round: int | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = field(default=(), repr=False)
    latency: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    raw: Json = field(default_factory=dict, repr=False)
    cached: bool = False
    safety: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        return self.text

    @classmethod
    def of(
        cls,
        answer: ChatReply,
        *,
        model: str | None,
        request_id: str | None,
        attempts: tuple[Attempt, ...],
        latency: float,
        headers: Mapping[str, str],
    ) -> Reply:
        """Join what the service said to how it was come by; ``model`` is what was asked for."""
        return cls(
            text=answer.text,
            reasoning=answer.reasoning,
            usage=answer.usage,
            finish_reason=answer.finish_reason,
            tool_calls=answer.tool_calls,
            id=answer.id,
            model=answer.model or model,
            is_truncated=answer.is_truncated,
            need_clear_history=answer.need_clear_history,
            flag=answer.flag,
            ban_round=answer.ban_round,
            request_id=request_id,
            attempts=attempts,
            latency=latency,
            headers=headers,
            raw=answer.raw,
        )
