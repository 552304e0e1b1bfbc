"""Keeping secrets out of what is written: our own messages, and the log lines of urllib3."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

_MASK = "***"
#: Shorter values are no secrets, and striking them out would shred the text around them.
_SHORTEST = 4


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` with every secret in it, also in its URL spellings, replaced by ``***``."""
    spellings = {form for secret in secrets for form in (secret, quote(secret, ""), quote_plus(secret))}
    for form in sorted(spellings, key=len, reverse=True):  # the longest first: one may contain another
        if len(form) >= _SHORTEST:
            text = text.replace(form, _MASK)
    return text


_QUERY_SECRET = re.compile(r"\b(access_token|client_id|client_secret)=[^&\s\"']+")


class QuerySecretFilter(logging.Filter):
    """Masks keys and tokens in the URLs that urllib3 logs at DEBUG: Qianfan carries them in the query (2.1)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask in place; every record passes."""
        record.msg = _mask(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_mask(value) for value in record.args)
        return True


def _mask(value: object) -> object:
    return _QUERY_SECRET.sub(rf"\1={_MASK}", value) if isinstance(value, str) else value


def guard_urllib3_logs() -> None:
    """Put the filter on urllib3's loggers; doing so again changes nothing."""
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_FILTER)


_FILTER = QuerySecretFilter()
