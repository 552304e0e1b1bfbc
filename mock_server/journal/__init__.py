"""What the mock saw: a bounded record of every request and what became of it.

* `entry`: one request, its answer and how the answer was delivered; secrets are masked as it is written (`redaction`);
* `journal`: the record itself, bounded by a number of entries and by bytes;
* `entries`: a snapshot of it, to read, filter (`filters`) and verify (`verify`);
* `export` and `har`: a snapshot as JSON lines and as an HTTP archive; `query`: the same over HTTP.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mock_server.journal.entries import Entries
from mock_server.journal.entry import KEPT_BYTES, Entry, Response
from mock_server.journal.journal import DEFAULT_BYTES, Journal, Memory
from mock_server.journal.redaction import redact, redact_target

if TYPE_CHECKING:
    from mock_server.journal.query import BadQuery, query
    from mock_server.journal.verify import VerificationFailed

_HOMES = {
    "BadQuery": "mock_server.journal.query",
    "VerificationFailed": "mock_server.journal.verify",
    "query": "mock_server.journal.query",
}

__all__ = [
    "DEFAULT_BYTES",
    "KEPT_BYTES",
    "BadQuery",
    "Entries",
    "Entry",
    "Journal",
    "Memory",
    "Response",
    "VerificationFailed",
    "query",
    "redact",
    "redact_target",
]


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): every mock writes a journal, and few are asked about it in these ways.
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value  # the module `query` is bound to this name when it is imported: the function wins
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
