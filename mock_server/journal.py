"""What the mock saw: a bounded record of every request and what became of it. Secrets are redacted when written."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import msgspec

from mock_server.delivery import Reply, Timing
from qfkit.protocol.credentials import mask
from qfkit.protocol.http import HeaderItems, HttpRequest
from qfkit.protocol.signing import Verification

_SECRET_QUERY = re.compile(r"(?i)((?:^|[?&])(?:access_token|client_id|client_secret)=)([^&#]*)")
_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-bce-signature", "x-api-key", "api-key"}
)


@dataclass(slots=True, eq=False)
class Entry:
    """One request and what became of it.

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
        status, error_code, error_message: the answer; no code on success.
        answered_by: the step of the script that answered, ``default``, or the check that refused.
        diagnosis: one line for the person who debugs.
        findings: oddities that were let through, such as a nonce that is not signed.
        timing: for streams behind the front door, when each write was to leave and when it did.
        outcome: ``pending``, ``complete``, ``cut`` or ``reset`` (by script), or ``hung up`` (by the client).
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
    diagnosis: str | None = None
    findings: tuple[str, ...] = ()
    outcome: str = "pending"
    timing: Timing | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def json(self) -> Any:
        """The body as decoded JSON, made anew each time; None when it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None

    @property
    def ok(self) -> bool:
        """It was answered, and not with an error."""
        return self.error_code is None and 200 <= self.status < 300

    def ended(self, reply: Reply, outcome: str) -> None:
        """Note how the delivery went; the first word counts."""
        if self.outcome == "pending":
            self.outcome = outcome
            self.timing = reply.timing

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
            "body": self.body.decode("utf-8", "replace") if (decoded := self.json) is None else decoded,
            "model": self.model,
            "stream": self.stream,
            "status": self.status,
            "error_code": self.error_code,
            "error_message": self.error_message,
            "request_id": self.request_id,
            "answered_by": self.answered_by,
            "diagnosis": self.diagnosis,
            "findings": list(self.findings),
            "outcome": self.outcome,
            "scheduled": list(self.timing.scheduled) if self.timing else [],
            "written": list(self.timing.real) if self.timing else [],
        }


class Entries(Sequence[Entry]):
    """A snapshot of entries, oldest first, that prints itself one a line."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Entries: ...
    def __getitem__(self, index: int | slice) -> Entry | Entries:
        return Entries(self._entries[index]) if isinstance(index, slice) else self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return "\n".join(map(str, self._entries)) or "(no requests)"


class Journal:
    """The last ``limit`` entries. Safe for any number of threads."""

    __slots__ = ("_count", "_entries", "_lock")

    def __init__(self, limit: int) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._count = 0

    def open(self, request: HttpRequest, now: float) -> Entry:
        """A new entry for ``request``, redacted. It is in the journal from `add` on."""
        with self._lock:
            self._count += 1
            number = self._count
        return Entry(number, now, request.method, redact_target(request.target), redact(request.headers), request.body)

    def add(self, entry: Entry) -> None:
        """Write the entry; the oldest makes room when the journal is full."""
        with self._lock:
            self._entries.append(entry)

    def entries(self) -> Entries:
        """What is recorded now, oldest first."""
        with self._lock:
            return Entries(tuple(self._entries))

    @property
    def count(self) -> int:
        """Requests seen since the start, also those no longer recorded."""
        return self._count

    def clear(self) -> None:
        """Forget what is recorded; numbers go on."""
        with self._lock:
            self._entries.clear()


def redact_target(target: str) -> str:
    """The request target with tokens and keys in its query masked."""
    return _SECRET_QUERY.sub(lambda found: f"{found[1]}{mask(found[2])}", target) if "?" in target else target


def redact(headers: HeaderItems) -> HeaderItems:
    """Headers with tokens, keys and signatures masked; what remains of them still says whose and of which kind."""
    return tuple(
        [
            pair if (lower := pair[0].lower()) not in _SECRET_HEADERS else (pair[0], _mask_header(lower, pair[1]))
            for pair in headers
        ]
    )


def _mask_header(name: str, value: str) -> str:
    if name != "authorization":
        return mask(value)
    if value.startswith("bce-auth-v1/"):  # all but the signature, its last part, is public
        head, slash, _signature = value.rpartition("/")
        return f"{head}{slash}***"
    kind, space, token = value.partition(" ")
    return f"{kind}{space}{mask(token)}" if space else mask(value)
