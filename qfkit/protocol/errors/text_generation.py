"""Errors of text_generation: the four that its tutorial lists (section 6.1), HTTP status and ``error_code`` alike.

The tutorial gives numbers, meanings and remedies but no literal texts. Beside these four the dialect carries every
code of v1 under its own number; ``qfkit.protocol.errors.translate`` makes those rows.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from qfkit.protocol.errors.spec import ErrorSpec

_row = partial(ErrorSpec, dialect="text_generation", evidence="doc (tutorial 6.1)", guess=("message",))

TEXT_GENERATION_ERRORS: Final[tuple[ErrorSpec, ...]] = (
    _row(
        code=400,
        status=400,
        message="Invalid parameter",
        meaning="A parameter is wrong, or the body is not what the endpoint expects.",
        remedy="Check the body's format: JSON with messages, temperature 0.1-1.0, at most 32 KB, prompts under 4096 "
        "characters.",
        retryable=False,
        kind="bad_request",
    ),
    _row(
        code=401,
        status=401,
        message="Authentication failed",
        meaning="The X-Bce-Signature headers were refused: wrong keys, a wrong signature, or a stale timestamp.",
        remedy="Check the API Key and Secret Key, the clock, and that each attempt is signed afresh; "
        "`qfkit sign --explain` compares signatures.",
        retryable=False,
        kind="auth",
    ),
    _row(
        code=429,
        status=429,
        message="Request limit reached",
        meaning="More requests than allowed; the documented limit is 100 a second for one application.",
        remedy="Call less often: back off with growing, jittered waits, honour Retry-After, and cap the concurrency.",
        retryable=True,
        kind="rate_limit",
    ),
    _row(
        code=500,
        status=500,
        message="Service error",
        meaning="The service failed.",
        remedy="Retry later, with growing waits and a limit on the attempts.",
        retryable=True,
        kind="internal",
    ),
)
