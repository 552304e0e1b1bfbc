"""A snapshot as an HTTP archive, HAR 1.2 (Odvarko, "HAR 1.2 Spec", 2012), which browsers' developer tools read.

What HAR has no place for stands under ``_qfkit``: the format leaves names that begin with an underscore to the
application.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from mock_server.journal.entry import Entry
from qfkit.protocol.http import HeaderItems

Json: TypeAlias = dict[str, Any]

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

#: What of an entry HAR has no member for.
_OWN = (
    "number",
    "account",
    "dialect",
    "operation",
    "scheme",
    "signature",
    "model",
    "error_code",
    "answered_by",
    "rule",
    "near_misses",
    "diagnosis",
    "findings",
    "ending",
    "scheduled",
    "written",
)


def archive(entries: Sequence[Entry], *, creator: str = "qfkit", version: str | None = None, comment: str = "") -> Json:
    """The archive; see `Entries.to_har`."""
    log: Json = {
        "version": "1.2",
        "creator": {"name": creator, "version": version or importlib.metadata.version("qfkit")},
        "entries": [_entry(entry) for entry in entries],
    }
    if comment:
        log["comment"] = comment
    return {"log": log}


def _entry(entry: Entry) -> Json:
    took = (entry.duration or 0.0) * 1000
    first = (entry.written[0] if entry.written else entry.duration or 0.0) * 1000
    whole = entry.to_dict()
    return {
        "startedDateTime": datetime.fromtimestamp(entry.time, timezone.utc).isoformat(timespec="milliseconds"),
        "time": took,
        "request": _request(entry),
        "response": _response(entry),
        "cache": {},
        "timings": {"send": 0, "wait": min(first, took), "receive": max(0.0, took - first)},
        "_qfkit": {name: whole[name] for name in _OWN},
    }


def _request(entry: Entry) -> Json:
    query = entry.target.partition("?")[2]
    request: Json = {
        "method": entry.method,
        "url": f"http://{entry.header('host', 'localhost')}{entry.target}",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(entry.headers),
        "queryString": _pairs(parse_qsl(query, keep_blank_values=True)),
        "headersSize": -1,
        "bodySize": len(entry.body),
    }
    if entry.body:
        mime = entry.header("content-type", "") or ""
        request["postData"] = {"mimeType": mime, "params": [], "text": entry.body.decode("utf-8", "replace")}
    return request


def _response(entry: Entry) -> Json:
    answer = entry.response
    headers = answer.headers if answer else ()
    content: Json = {"size": answer.size if answer else 0, "mimeType": "", "text": answer.text if answer else ""}
    content["mimeType"] = next((value for name, value in headers if name.lower() == "content-type"), "")
    if answer and answer.truncated:
        content["comment"] = "only the beginning was kept"
    return {
        "status": entry.status,
        "statusText": _PHRASES.get(entry.status, ""),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _pairs(headers),
        "content": content,
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": content["size"],
    }


def _pairs(items: HeaderItems | Iterable[tuple[str, str]]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in items]
