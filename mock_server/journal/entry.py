"""One request, its answer, and how the answer was delivered."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import msgspec

from mock_server.delivery import Reply, Timing, Write
from mock_server.journal.redaction import GRANTING, redact, redact_grant
from qfkit.protocol.http import HeaderItems
from qfkit.protocol.signing import Verification

if TYPE_CHECKING:
    from mock_server.journal.journal import Journal

#: Bytes of an answer's body that are remembered; of a longer one, its beginning.
KEPT_BYTES = 65_536

#: About what one piece of an answer takes in memory beside its bytes.
_PIECE = 120

_OUTCOMES = {
    "cut": "cut by the script",
    "reset": "reset by the script",
}


class Response:
    """What was answered, as it was planned: how much of it left is told by the `Entry`.

    Holds the reply's own pieces, no copy: they are put together when somebody reads them.

    Attributes:
        size: bytes of the whole body, of which `KEPT_BYTES` are remembered.
        chunks: pieces of a streamed body; 0 when it was not streamed.
        lasts: seconds after the request at which its last piece is to leave.
    """

    __slots__ = ("_headers", "_pieces", "_writes", "chunks", "lasts", "size", "weight")

    def __init__(self, reply: Reply, *, secret: bool = False) -> None:
        body = reply.body
        self.lasts = body[-1].at if body else 0.0
        if secret:
            body = (Write(0.0, redact_grant(reply.content)),)
        if len(body) == 1:
            self.size = len(body[0].data)
            self.chunks = 1 if reply.streamed else 0
        else:
            lengths = [len(write.data) for write in body]
            self.size = sum(lengths)
            self.chunks = len(lengths) - lengths.count(0) if reply.streamed else 0
        if self.size > KEPT_BYTES:
            body = _beginning(body)
        self._headers = reply.headers  # the very list: the door adds the date to it
        self._writes = body
        # Only bent bytes make it hard to say later how many pieces left; few replies are bent, so only they pay.
        self._pieces = tuple([len(write.data) for write in reply.body if write.data]) if reply.wire else ()
        self.weight = min(self.size, KEPT_BYTES) + _PIECE * len(body)

    @property
    def headers(self) -> HeaderItems:
        """Name and value pairs; framing headers are the connection's and not among them."""
        return redact(tuple(self._headers))

    def header(self, name: str, default: str | None = None) -> str | None:
        """First value of header ``name`` (any case)."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), default)

    @property
    def body(self) -> bytes:
        """The body, or its first `KEPT_BYTES` bytes."""
        return b"".join([write.data for write in self._writes])

    @property
    def truncated(self) -> bool:
        """The body was longer than what is remembered of it."""
        return self.size > KEPT_BYTES

    @property
    def text(self) -> str:
        """The remembered body as text; what is no UTF-8 becomes U+FFFD."""
        return self.body.decode("utf-8", "replace")

    @property
    def json(self) -> Any:
        """The body as decoded JSON, made anew each time; None when it is none."""
        return decoded(self.body)

    def chunks_within(self, sent: int) -> int:
        """How many pieces of a bent body are whole within ``sent`` bytes of what follows the head."""
        framed = self.chunks > 0
        for index, length in enumerate(self._pieces):
            sent -= length + (len(f"{length:x}") + 4 if framed else 0)
            if sent < 0:
                return index
        return len(self._pieces)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON-ready data."""
        found = self.json
        return {
            "headers": [list(pair) for pair in self.headers],
            "body": self.text if found is None else found,
            "size": self.size,
            "truncated": self.truncated,
        }


@dataclass(init=False, eq=False)
class Entry:
    """One request and what became of it.

    Without slots and with an ``__init__`` of its own: what an entry does not say stands in the class, and costs nothing
    to set. One is made for every request.

    Attributes:
        number: 1 for the first request of the server.
        time: when it arrived, Unix seconds on the server's clock.
        method, target, headers, body: as they came, secrets masked.
        dialect, operation: what the path means; ``unknown`` where it means nothing.
        account: name of the account it was counted for, None when nobody's key fitted.
        scheme: auth scheme it used, None when it used none.
        signature: the verdict on its signature (``hmac`` and ``bce-auth-v1``), else None.
        auth_error: why it was not let in, None when it was.
        model: the model it asked for.
        stream: it asked for a stream.
        status, error_code, error_message: the answer; no code on success. The status is 0 until it is answered.
        answered_by: the step of the script that answered, ``default``, or the check that refused.
        rule: the rule that the step belongs to, None for the plain queue.
        near_misses: the rules that came nearest, one line each with what differed, where none was met.
        diagnosis: one line for the person who debugs.
        findings: oddities that were let through, such as a nonce that is not signed.
        response: what was answered, None until then, and where the journal is off.
        timing: for streams behind the front door, when each write was to leave and when it did.
        outcome: ``pending``, ``complete``, ``cut`` or ``reset`` (by script), or ``hung up`` (by the client).
        chunks_sent: pieces of a streamed body that left whole.
        sent_bytes: bytes that left, head and framing of HTTP included; behind a WSGI server, which adds those, bytes of
            the body.
        duration: seconds of real time from the request's arrival until its last bytes left, or its client had gone;
            None until then.
        finished: when that was, Unix seconds on the server's clock.
        token: tells tokens apart, and says nothing of them; None where none was sent.
    """

    number: int
    time: float
    method: str
    target: str
    headers: HeaderItems
    body: bytes
    dialect: str = "unknown"
    operation: str = "unknown"
    account: str | None = None
    scheme: str | None = None
    signature: Verification | None = None
    auth_error: str | None = None
    model: str | None = None
    stream: bool = False
    status: int = 0
    error_code: int | str | None = None
    error_message: str | None = None
    request_id: str | None = None
    answered_by: str | None = None
    rule: str | None = None
    near_misses: tuple[str, ...] = ()
    diagnosis: str | None = None
    findings: tuple[str, ...] = ()
    response: Response | None = None
    outcome: str = "pending"
    timing: Timing | None = None
    chunks_sent: int = 0
    sent_bytes: int = 0
    duration: float | None = None
    finished: float | None = None
    token: int | None = None
    #: Where it is written, and what it weighs there: the business of `Journal`.
    homes: tuple[Journal, ...] = field(default=(), repr=False)
    weight: int = field(default=0, repr=False)

    def __init__(  # noqa: PLR0917 - as the dataclass would make it
        self, number: int, time: float, method: str, target: str, headers: HeaderItems, body: bytes
    ) -> None:
        self.number = number
        self.time = time
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self._since = perf_counter()

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def json(self) -> Any:
        """The body as decoded JSON, made anew each time; None when it is none."""
        return decoded(self.body)

    @property
    def ok(self) -> bool:
        """It was answered, and not with an error."""
        return self.error_code is None and 200 <= self.status < 300

    @property
    def chunks(self) -> int:
        """Pieces of the answer as it was planned; 0 when it was not streamed."""
        return self.response.chunks if self.response else 0

    @property
    def scheduled(self) -> list[float]:
        """When each write was to leave, seconds after the request; empty for an answer that left at once."""
        return list(self.timing.scheduled) if self.timing else []

    @property
    def written(self) -> list[float]:
        """When each write did leave, seconds after the request; shorter than `scheduled` where the client hung up."""
        return list(self.timing.real) if self.timing else []

    @property
    def ending(self) -> str:
        """How it went, in words: ``sent to the end``, ``hung up at chunk 7 of 23``, ``reset by the script``."""
        at = f"at chunk {self.chunks_sent} of {self.chunks}" if self.chunks else ""
        if self.outcome == "hung up":
            return f"hung up {at}" if at else "hung up before the end" if self.sent_bytes else "hung up before a byte"
        if self.outcome in _OUTCOMES:
            return f"{_OUTCOMES[self.outcome]} after chunk {self.chunks_sent}" if at else _OUTCOMES[self.outcome]
        return "sent to the end" if self.outcome == "complete" else self.outcome

    def answered(self, reply: Reply) -> None:
        """Note what is answered."""
        self.status = reply.status
        if homes := self.homes:
            self.response = response = Response(reply, secret=self.dialect in GRANTING)
            homes[0].memory.grow(self, response.weight)

    def ended(self, reply: Reply, outcome: str, now: float | None = None) -> None:
        """Note how the delivery went, at ``now`` on the server's clock; the first word counts."""
        if self.outcome != "pending":
            return
        self.outcome = outcome
        self.timing = timing = reply.timing
        self.duration = perf_counter() - self._since
        self.sent_bytes = reply.sent
        response = self.response
        if now is not None:
            # A clock of the test's own may have been moved since by a client that was quicker than this note.
            self.finished = min(now, self.time + max(self.duration, response.lasts if response else 0.0))
        if response is None or not response.chunks:
            return
        if reply.wire is not None and timing is not None:
            self.chunks_sent = response.chunks_within(reply.sent - timing.head)
        elif timing is not None:  # the head is the first write, and a chunk each one after it
            self.chunks_sent = min(max(0, len(timing.real) - 1), response.chunks)
        elif outcome != "hung up":
            self.chunks_sent = response.chunks

    def header(self, name: str, default: str | None = None) -> str | None:
        """First value of header ``name`` (any case), masked where it is secret."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), default)

    def __str__(self) -> str:
        answer = f"{self.status}" + (f" code {self.error_code}" if self.error_code is not None else "")
        who = self.account or "nobody"
        line = f"#{self.number} {self.method} {self.path} [{who}] -> {answer} by {self.answered_by}"
        return f"{line}: {self.diagnosis}" if self.diagnosis else line

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON-ready data."""
        return {
            "number": self.number,
            "time": self.time,
            "method": self.method,
            "target": self.target,
            "headers": [list(pair) for pair in self.headers],
            "dialect": self.dialect,
            "operation": self.operation,
            "account": self.account,
            "scheme": self.scheme,
            "signature": self.signature.to_dict() if self.signature else None,
            "auth_error": self.auth_error,
            "body": self.body.decode("utf-8", "replace") if (found := self.json) is None else found,
            "model": self.model,
            "stream": self.stream,
            "status": self.status,
            "error_code": self.error_code,
            "error_message": self.error_message,
            "request_id": self.request_id,
            "answered_by": self.answered_by,
            "rule": self.rule,
            "near_misses": list(self.near_misses),
            "diagnosis": self.diagnosis,
            "findings": list(self.findings),
            "response": self.response.to_dict() if self.response else None,
            "outcome": self.outcome,
            "ending": self.ending,
            "chunks": self.chunks,
            "chunks_sent": self.chunks_sent,
            "sent_bytes": self.sent_bytes,
            "duration": self.duration,
            "ended": self.finished,
            "due": None if self.response is None else self.time + self.response.lasts,
            "token": None if self.token is None else f"{self.token & 0xFFFFFFFF:08x}",
            "scheduled": self.scheduled,
            "written": self.written,
        }


def decoded(body: bytes) -> Any:
    """A body as decoded JSON; None when it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _beginning(body: tuple[Write, ...]) -> tuple[Write, ...]:
    """The first `KEPT_BYTES` bytes of a body."""
    kept, room = [], KEPT_BYTES
    for write in body:
        kept.append(write if len(write.data) <= room else Write(write.at, write.data[:room]))
        room -= len(write.data)
        if room <= 0:
            break
    return tuple(kept)
