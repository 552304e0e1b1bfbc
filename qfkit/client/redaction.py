"""Keeping secrets out of what is written: our own messages, and the log lines of urllib3."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_MASK = "***"
#: Shorter values are no secrets, and striking them out would shred the text around them.
_SHORTEST = 4


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` with every secret in it, also in its URL spellings, replaced by ``***``."""
    spellings = {form for secret in secrets for form in _spellings(secret)}
    for form in sorted(spellings, key=len, reverse=True):  # the longest first: one may contain another
        if len(form) >= _SHORTEST:
            text = text.replace(form, _MASK)
    return text


def _spellings(secret: str) -> tuple[str, ...]:
    # In a URL, in JSON, in a repr.
    encoded = json.dumps(secret, ensure_ascii=False)[1:-1]
    return secret, quote(secret, ""), quote_plus(secret), encoded, repr(secret)[1:-1]


def scrub(value: str | None, secrets: Iterable[str]) -> str | None:
    """`redact` for the short texts of every answer, such as an id: quick where there is nothing to strike out."""
    if value is None or not ("%" in value or "+" in value or "\\" in value or any(it in value for it in secrets)):
        return value
    return redact(value, secrets)


def redact_keys(text: str) -> str:
    """``text`` without anything that has the shape of a key, whoever's it is, and without tokens in addresses."""
    from qfkit.client.safety.kinds import KEY  # noqa: PLC0415 - it needs the exceptions, and they need nothing

    text = _QUERY_SECRET.sub(rf"\1={_MASK}", text)
    pieces, end = [], 0
    for start, stop in KEY.spans(text):
        pieces += [text[end:start], _MASK]
        end = stop
    return "".join([*pieces, text[end:]])


_QUERY_SECRET = re.compile(r"\b(access_token|client_id|client_secret)=[^&\s\"']+")


class QuerySecretFilter(logging.Filter):
    """Masks keys and tokens in the URLs that urllib3 logs at DEBUG: Qianfan carries them in the query (2.1)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask in place; every record passes."""
        record.msg = _mask(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_mask(value) for value in record.args)
        # Where headers cannot be parsed, urllib3 logs them as they came, and a server may quote what it was sent.
        record.exc_info = record.exc_text = None
        return True


def _mask(value: object) -> object:
    if isinstance(value, BaseException):
        return type(value).__name__
    return _QUERY_SECRET.sub(rf"\1={_MASK}", value) if isinstance(value, str) else value


def guard_urllib3_logs() -> None:
    """Put the filter on urllib3's loggers; doing so again changes nothing."""
    for name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_FILTER)


_FILTER = QuerySecretFilter()
