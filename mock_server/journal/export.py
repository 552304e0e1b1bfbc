"""A snapshot as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mock_server.journal.entry import Entry


def jsonl(entries: Iterable[Entry]) -> str:
    """One JSON object a line, each line ended; what an object holds is `Entry.to_dict`."""
    return "".join([f"{msgspec.json.encode(entry.to_dict()).decode()}\n" for entry in entries])
