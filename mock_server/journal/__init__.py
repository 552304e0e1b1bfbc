"""What the mock saw: a bounded record of every request and what became of it.

* `entry`: one request, its answer and how the answer was delivered; secrets are masked as it is written (`redaction`);
* `journal`: the record itself, bounded by a number of entries and by bytes;
* `entries`: a snapshot of it, to read, filter (`filters`) and verify (`verify`);
* `export` and `har`: a snapshot as JSON lines and as an HTTP archive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mock_server.journal.entries import Entries
from mock_server.journal.entry import KEPT_BYTES, Entry, Response
from mock_server.journal.journal import DEFAULT_BYTES, Journal, Memory
from mock_server.journal.redaction import redact, redact_target

if TYPE_CHECKING:
    from mock_server.journal.verify import VerificationFailed

__all__ = [
    "DEFAULT_BYTES",
    "KEPT_BYTES",
    "Entries",
    "Entry",
    "Journal",
    "Memory",
    "Response",
    "VerificationFailed",
    "redact",
    "redact_target",
]


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): every mock writes a journal, and few tests catch what `verify` raises.
    if name == "VerificationFailed":
        from mock_server.journal.verify import VerificationFailed  # noqa: PLC0415 - as said

        return VerificationFailed
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
