"""What a server saw of one request, as far as it matters for judging who sent it.

An `Observation` is made from an entry of the mock's journal as JSON has it (`of_journal`), so that a verdict over HTTP,
from a file of JSON lines, or in the mock's own process starts from the same facts. It holds digests and short facts,
never a key, a token or a text that was asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

from qfkit.protocol.errors import DIALECTS, classify
from qfkit.protocol.sse import Decoder

#: What became of an attempt, for its client. ``done``: answered. ``retryable``, ``stale`` (its token), ``permanent``:
#: errors. ``broken``: the answer ended before its end. ``left``: the client hung up. ``pending``: under way.
Fate: TypeAlias = Literal["done", "retryable", "stale", "permanent", "broken", "left", "pending"]

#: Codes after which a client gets a new token and sends the request once more (wire reference 2.1, 2.3).
STALE_CODES = frozenset({110, 111, "invalid_iam_token"})

#: Headers by which a client says which requests belong to one call; the first that is there counts.
CALL_ID_HEADERS = ("x-qfkit-call-id", "idempotency-key")

#: Members of a body that differ between attempts of one call.
_VOLATILE = frozenset({"extra_parameters", "request_id", "requestId", "timestamp", "nonce"})

_GRANTING = frozenset({"oauth", "iam"})
_TORN = frozenset({"cut", "reset"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What is known of a signature.

    Attributes:
        timestamp: Unix seconds, as signed; None where there is none that can be read.
        nonce: as sent, None where the scheme has none.
        mark: tells signatures apart: their first characters, as the journal shows them.
        form: what it matched, such as ``B/path``; None for nothing.
        reason: of the verification, ``ok`` when it was right.
    """

    timestamp: float | None = None
    nonce: str | None = None
    mark: str = ""
    form: str | None = None
    reason: str = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One request and its answer. Times are Unix seconds on the server's clock.

    Attributes:
        number: of the request in the journal.
        began: when it arrived.
        ended: when its last bytes left or its client had gone; None while it is under way.
        due: when its last bytes were to leave.
        dialect, operation: what was asked for.
        content: digest of what was asked: equal for attempts of one call.
        call_id: by which the client says that attempts belong together, None where it says nothing.
        retry_count: what the client says about it (``x-stainless-retry-count``), from 0.
        agent: its ``User-Agent``.
        status: of the answer, 0 for none.
        code: of the error, None for success.
        kind: of the error, a key of `qfkit.protocol.errors.KINDS`.
        retryable: the same request may succeed later, by the error table.
        retry_after: seconds that the answer asks to wait, None where it says nothing.
        streamed: the answer was a stream.
        pieces: pieces of content that left.
        broken: the answer ended before its end, or with an error event.
        outcome: ``pending``, ``complete``, ``cut``, ``reset`` or ``hung up``.
        scheme: how it was authenticated.
        signed: of its signature, None without one.
        token: tells tokens apart, None where none was sent.
        findings: oddities that the server noted.
        answered_by: the step that answered.
    """

    number: int
    began: float
    ended: float | None = None
    due: float | None = None
    dialect: str = "v2"
    operation: str = "chat"
    content: str = ""
    call_id: str | None = None
    retry_count: int | None = None
    agent: str = ""
    status: int = 200
    code: int | str | None = None
    kind: str | None = None
    retryable: bool = False
    retry_after: float | None = None
    streamed: bool = False
    pieces: int = 0
    broken: bool = False
    outcome: str = "complete"
    scheme: str | None = None
    signed: Signed | None = None
    token: str | None = None
    findings: tuple[str, ...] = ()
    answered_by: str | None = None

    @property
    def token_fetch(self) -> bool:
        """It asked for a token."""
        return self.dialect in _GRANTING

    @property
    def fate(self) -> Fate:
        """What became of it."""
        if self.outcome == "hung up":
            return "left"
        if self.code is not None or self.status >= 400:
            if self.code in STALE_CODES:
                return "stale"
            return "retryable" if self.retryable else "permanent"
        if self.outcome == "pending":
            return "pending"
        return "broken" if self.broken else "done"

    @property
    def error(self) -> str:
        """How its answer failed, in a few words."""
        if self.fate == "broken":
            how = "ended before its end" if self.outcome == "complete" else f"was {self.outcome}"
            return f"the {'stream' if self.streamed else 'answer'} {how} after {self.pieces} pieces of content"
        if self.code is not None:
            return f"code {self.code} under HTTP {self.status}" if self.code != self.status else f"HTTP {self.status}"
        return f"HTTP {self.status}" if self.status >= 400 else self.outcome

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data; `from_dict` reads it."""
        return {**asdict(self), "findings": list(self.findings)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Observation:
        """The observation that `to_dict` wrote.

        Raises:
            ValueError: it is none; the message names the member.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ValueError(f"{unknown[0]!r} is no member of an observation; they are {', '.join(sorted(known))}")
        if missing := [name for name in ("number", "began") if name not in data]:
            raise ValueError(f"an observation has a member {missing[0]!r}; this one has not")
        signed = data.get("signed")
        return cls(
            **{
                **data,
                "signed": Signed(**signed) if signed else None,
                "findings": tuple(data.get("findings", ())),
            }
        )


def of_journal(entry: Mapping[str, Any]) -> Observation:
    """What an entry of the journal says, as ``Entry.to_dict`` and ``GET /__admin/journal`` write it.

    Raises:
        ValueError: it is no such entry.
    """
    try:
        return _of_journal(entry)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no entry of a journal: {type(error).__name__}: {error}") from error


def _of_journal(entry: Mapping[str, Any]) -> Observation:
    headers = {str(name).lower(): str(value) for name, value in reversed(entry["headers"])}
    response: Mapping[str, Any] = entry.get("response") or {}
    answer = {str(name).lower(): str(value) for name, value in response.get("headers", ())}
    began, outcome, status = float(entry["time"]), str(entry["outcome"]), int(entry["status"])
    body = response.get("body")
    spec = classify(
        entry["dialect"] if entry["dialect"] in DIALECTS else "v2", status, body if isinstance(body, dict) else None
    )
    code: int | str | None = entry["error_code"]
    if code is None and spec is not None:
        code = spec.code
    streamed = bool(entry["chunks"]) and spec is None
    pieces, ended_well = _stream(entry, response) if streamed else (int(status == 200 and outcome == "complete"), True)
    ended = entry.get("ended")
    if ended is None and entry.get("duration") is not None:
        ended = began + float(entry["duration"])
    count = headers.get("x-stainless-retry-count", "")
    return Observation(
        number=int(entry["number"]),
        began=began,
        ended=None if outcome == "pending" else ended,
        due=entry.get("due"),
        dialect=entry["dialect"],
        operation=entry["operation"],
        content=_content(entry),
        call_id=next((headers[name] for name in CALL_ID_HEADERS if headers.get(name)), None),
        retry_count=int(count) if count.isascii() and count.isdigit() and len(count) < 10 else None,
        agent=headers.get("user-agent", ""),
        status=status,
        code=code,
        kind=spec.kind if spec else None,
        retryable=spec.retryable if spec else False,
        retry_after=_retry_after(answer),
        streamed=streamed,
        pieces=pieces,
        broken=outcome in _TORN or (outcome == "complete" and not ended_well),
        outcome=outcome,
        scheme=entry["scheme"],
        signed=_signed(headers, entry["signature"]),
        token=entry.get("token"),
        findings=tuple(entry["findings"]),
        answered_by=entry["answered_by"],
    )


def _content(entry: Mapping[str, Any]) -> str:
    body = entry["body"]
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in _VOLATILE}
    asked = [entry["method"], str(entry["target"]).partition("?")[0], body]
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _signed(headers: Mapping[str, str], verified: Mapping[str, Any] | None) -> Signed | None:
    if not verified:
        return None
    if verified["scheme"] == "hmac":
        stamp, nonce, mark = (headers.get(f"x-bce-{name}") for name in ("timestamp", "nonce", "signature"))
        return Signed(
            timestamp=_number(stamp), nonce=nonce, mark=mark or "", form=verified["form"], reason=verified["reason"]
        )
    parts = headers.get("authorization", "").split("/")
    moment = _moment(parts[2]) if len(parts) > 2 else None
    return Signed(timestamp=moment, form=verified["form"], reason=verified["reason"])


def _number(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 14 else None


def _moment(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the answer asks to wait (RFC 9110, 10.2.3); of a date, less the second that it may be rounded by."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 <= seconds < 1e9:
            return seconds
    until, sent = _date(headers.get("retry-after")), _date(headers.get("date"))
    return None if until is None or sent is None else max(0.0, until - sent - 1.0)


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _stream(entry: Mapping[str, Any], response: Mapping[str, Any]) -> tuple[int, bool]:
    """How many pieces of content left, and whether the stream came to its proper end."""
    events = _events(response.get("body"))
    sent, planned = int(entry["chunks_sent"]), int(entry["chunks"])
    if sent < planned:
        events = events[:sent]
    read = [_read(event) for event in events]
    torn = any(kind == "error" for kind, _ in read)
    ended = any(kind == "end" for kind, _ in read) or bool(response.get("truncated"))
    return sum(content for _, content in read), ended and not torn


def _events(body: Any) -> list[Any]:
    """The payloads of a stream: of server-sent events, or of bare lines of JSON."""
    if not isinstance(body, str):
        return [] if body is None else [body]
    found: list[str] = []
    decoder = Decoder(on_ignored=found.append)
    data = body.encode("utf-8", "surrogatepass")
    # Line by line, so that events and bare lines come out in the order in which they stand.
    for line in data.splitlines(keepends=True):
        found += [event.data for event in decoder.feed(line)]
    found += [event.data for event in decoder.close()]
    return [_decoded(text) for text in found]


def _decoded(text: str) -> Any:
    if text.strip() == "[DONE]":
        return {"is_end": True}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read(event: Any) -> tuple[str, bool]:
    """Whether an event is an ``error``, the ``end`` or neither, and whether it has content."""
    if not isinstance(event, dict):
        return "", False
    if event.get("error_code") or isinstance(event.get("error"), dict):
        return "error", False
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta")
    content = bool(event.get("result")) or (
        isinstance(delta, dict) and any(delta.get(name) for name in ("content", "reasoning_content", "tool_calls"))
    )
    return "end" if event.get("is_end") or choice.get("finish_reason") else "", content


def observations(entries: Iterable[Mapping[str, Any]]) -> tuple[Observation, ...]:
    """`of_journal` of each, in the order in which they arrived.

    Raises:
        ValueError: one is no entry of a journal.
    """
    return tuple(sorted(map(of_journal, entries), key=lambda one: (one.began, one.number)))
