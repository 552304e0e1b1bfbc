"""What one call of a load test came to: the one value that users hand in, and that everything is derived from. Pure.

Whoever makes calls, with whatever client, describes each as a `Sample` and gives it to `Recorder.add`. Counts,
percentiles, timelines, goodput and verdicts are computed from samples, in one place each, so that the numbers of many
processes added up are those of one process that saw the same samples.

Times inside a sample are seconds since its *reference moment*: when the call was meant to be sent, in a run whose
arrivals do not wait for answers (an open model), else when its first inference request was handed to the transport.
A service that stalls thereby cannot hide the calls that it kept from being sent.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["chat", "stream", "embed", "tools"]
Outcome: TypeAlias = Literal["ok", "failed", "cut_off"]

#: How far a failed attempt came. ``connect``: no connection was made. ``headers``: there was one, and no head of an
#: answer came. ``body``: a whole answer came and is an error, or is broken. ``mid-stream``: a stream had begun when an
#: error came in it, or its connection broke. ``truncated``: it ended without its end mark. Empty: it did not fail.
Phase: TypeAlias = Literal["", "connect", "headers", "body", "mid-stream", "truncated"]


class Attempted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One inference request of a call.

    Attributes:
        at: Unix time in seconds, just before it was sent.
        status: HTTP status, None when no answer came.
        code: the service's error code, None when it gave none.
        what: what went wrong, where no code says it: the name of the client's exception or a few words. Never a message
            of the service, which may differ each time. Empty when the attempt was good.
        phase: how far it came before it failed; see `Phase`.
        waited: seconds slept before it.
        wait_reason: why: ``backoff``, ``retry-after``, ``token-refresh``, ``resume``, or None.
        elapsed: seconds to the end of the answer, or to the failure.
    """

    at: float
    status: int | None = None
    code: int | str | None = None
    what: str = ""
    phase: Phase = ""
    waited: float = 0.0
    wait_reason: str | None = None
    elapsed: float = 0.0

    @property
    def ok(self) -> bool:
        """It was answered, and well."""
        return self.status is not None and self.code is None and not self.what and not self.phase


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call.

    Attributes:
        scenario: name under which it is counted.
        kind: what was asked for.
        client: ``qfkit``, ``sdk``, ``openai``, or the path of a factory.
        dialect: API family.
        prompt: name of the prompt's set or length class; never its text.
        planned: Unix time in seconds of the intended sending; None when users wait for answers (a closed model).
        began: Unix time in seconds when the first inference request was sent.
        warmup: it was made before measuring began: counted, and in no figure.
        outcome: ``cut_off``: the end of the run interrupted it.
        attempts: its inference requests, in order.
        requests: HTTP requests sent, those for tokens included.
        token_requests: those for tokens.
        headers: to the head of the answer. For all times see the module.
        first_byte: to the first byte of the body.
        first_chunk: to the first whole event of the stream, with content or not.
        first_reasoning: to the first non-empty piece of the model's reasoning.
        ttft: to the first non-empty piece of content.
        e2e: to the last one.
        end: to the end of the body, or to the failure.
        contents: to each non-empty piece of content, in order.
        empties: to each event of the stream without content, such as one that names the role, holds reasoning or the
            reason for the end, in order. Other tools count these as tokens.
        prompt_tokens, output_tokens: what was read and written, reasoning included; None when nobody knows.
        tokens_from: who counted: the ``server`` (its usage), or this side (``estimated`` from the text).
        worker: the process that made the call.
    """

    scenario: str
    kind: Kind = "chat"
    client: str = "qfkit"
    dialect: str = "text_generation"
    prompt: str = ""
    planned: float | None = None
    began: float
    warmup: bool = False
    outcome: Outcome = "ok"
    attempts: list[Attempted] = []
    requests: int = 0
    token_requests: int = 0
    headers: float | None = None
    first_byte: float | None = None
    first_chunk: float | None = None
    first_reasoning: float | None = None
    ttft: float | None = None
    e2e: float | None = None
    end: float | None = None
    contents: list[float] = []
    empties: list[float] = []
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    tokens_from: Literal["server", "estimated"] | None = None
    worker: str = ""

    @property
    def ok(self) -> bool:
        """It ended well."""
        return self.outcome == "ok"

    @property
    def reference(self) -> float:
        """Unix time of the moment that its times count from."""
        return self.began if self.planned is None else self.planned

    @property
    def ended(self) -> float:
        """Unix time of its end; of its reference moment when it never came to one."""
        return self.reference + (self.end or 0.0)

    @property
    def late(self) -> float | None:
        """Seconds between the intended and the actual sending; None in a closed model."""
        return None if self.planned is None else max(0.0, self.began - self.planned)

    @property
    def itl(self) -> list[float]:
        """Inter-token latency: seconds of each gap between pieces of content; one fewer than there are pieces."""
        return [later - earlier for earlier, later in zip(self.contents, self.contents[1:], strict=False)]

    @property
    def tpot(self) -> float | None:
        """Time per output token: (tN - t1) / (n - 1) seconds over the n pieces of content; None for fewer than two.

        A piece counts as one token: what a piece holds is the server's choice, and only some servers say.
        """
        contents = self.contents
        return (contents[-1] - contents[0]) / (len(contents) - 1) if len(contents) > 1 else None

    @property
    def failure(self) -> Attempted | None:
        """The attempt that a failed call ended with; None when the call did not fail, or never came to an attempt."""
        return self.attempts[-1] if self.outcome == "failed" and self.attempts else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data; members at their defaults are left out."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Sample:
        """What `to_dict` gave.

        Raises:
            msgspec.ValidationError: it is no sample; the message names the member.
        """
        return msgspec.convert(data, cls)
