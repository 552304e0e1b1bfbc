"""An HTTP request as plain values: what is signed, verified and journaled on both ends of the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

HeaderItems: TypeAlias = tuple[tuple[str, str], ...]
Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]


def header_items(headers: Headers) -> HeaderItems:
    """Headers as pairs in the order they came, repeats kept."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return tuple((name, value) for name, value in pairs)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as it stood on the wire.

    Attributes:
        method: as sent, usually upper case.
        target: the request target as sent: path and, after ``?``, the query, still percent-encoded.
        headers: name and value pairs in order, names in the case they came in.
        body: the exact bytes of the content, after any transfer coding was undone.
        scheme: ``http`` or ``https``; needed only to rebuild the full URL.
    """

    method: str
    target: str
    headers: HeaderItems = ()
    body: bytes = b""
    scheme: str = "http"

    @property
    def path(self) -> str:
        """The target without its query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the first ``?`` of the target, still percent-encoded; empty when there is none."""
        return self.target.partition("?")[2]

    @property
    def url(self) -> str:
        """The full URL as a client would have written it: scheme, ``Host`` header, target."""
        return f"{self.scheme}://{self.header('host', '')}{self.target}"

    def header(self, name: str, default: str | None = None) -> str | None:
        """First value of header ``name`` (any case), or ``default``."""
        wanted = name.lower()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value
        return default
