"""What is written to the log: one place for its words, its fields and its levels.

The logger is ``qfkit``; calls are logged by ``qfkit.client``, the cache by ``qfkit.cache``. It is silent until its user
says otherwise: by `configure_logging`, or by `logging.basicConfig` as in the tutorial.

A record has a text for people, and the same as fields for machines (attributes of the record):

======== ======= ==================================================================================================
event    level   fields beside ``event`` and ``call``
======== ======= ==================================================================================================
start    DEBUG   dialect, operation, model, prompt
retry    WARNING wait, reason, code, error, request_id
held     INFO    wait: the client's own limits
token    INFO    code: the token was refused, and is bought anew
success  INFO    dialect, operation, model, prompt, result_length, latency_headers, latency_first_token, latency_total,
                 attempts, request_id, tokens_in, tokens_out
failure  ERROR   dialect, operation, model, prompt, latency_total, attempts, request_id, code, error
resume   WARNING wait, error: a stream that broke off goes on (no call)
safety   INFO    findings: what rules did to the question (no call)
refused  WARNING rule, kind, position: an answer was held back (no call)
======== ======= ==================================================================================================

``call`` numbers the calls of the process, and ties the lines of one together; ``prompt`` is at most 50 characters, keys
struck out, and masked where the client has a `Safety` that masks. Latencies are seconds from the start of the call,
waits included.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from qfkit.client.exceptions import ConfigurationError
from qfkit.client.redaction import redact, redact_keys
from qfkit.protocol.messages import Usage

if TYPE_CHECKING:
    from qfkit.client.calls import Call
    from qfkit.client.exceptions import QianfanError

logger = logging.getLogger("qfkit.client")

#: Characters of a prompt that are written, at most: the tutorial's number.
PREVIEW = 50


class CallLog:
    """The lines of one call.

    Args:
        number: of the call.
        call: what is asked.
        secrets: what to strike out.
    """

    __slots__ = ("_call", "_known", "number", "proven")

    def __init__(self, number: int, call: Call, secrets: tuple[str, ...]) -> None:
        self.number = number
        self._call = call
        self._known = secrets
        #: What proved the latest attempt, and is struck out too: a token that was bought on the way, a signature.
        self.proven: tuple[str, ...] = ()

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (*self._known, *self.proven)

    def start(self) -> None:
        """The call begins."""
        if logger.isEnabledFor(logging.DEBUG):
            call = self._call
            verb = "stream" if call.stream else call.operation
            fields = self._question()
            self._write(
                logging.DEBUG, "start", "%s %s %s: %r", (call.dialect, verb, call.model, fields["prompt"]), **fields
            )

    def retry(self, error: QianfanError, wait: float, reason: str) -> None:
        """An attempt failed, and another one follows after ``wait`` seconds."""
        summary = self._clean(error.summary)
        self._write(
            logging.WARNING,
            "retry",
            "failed, next attempt in %.3f s (%s): %s",
            (wait, reason, summary),
            wait=wait,
            reason=reason,
            **self._failed(error),
        )

    def held(self, seconds: float) -> None:
        """The client's own limits held an attempt back."""
        self._write(logging.INFO, "held", "held back %.3f s by the client's own limits", (seconds,), wait=seconds)

    def token_refused(self, code: object) -> None:
        """The token is bought anew."""
        code = self._clean(code)
        self._write(logging.INFO, "token", "token refused (%s), sending again with a new one", (code,), code=code)

    def success(
        self,
        *,
        attempts: int,
        latency: float,
        usage: Usage | None,
        result_length: int | None,
        latency_headers: float | None,
        latency_first_token: float | None = None,
        request_id: str | None,
    ) -> None:
        """The call went well.

        Args:
            attempts: how many it took.
            latency: seconds, all told.
            usage: tokens.
            result_length: characters of the answer, None for what is no text.
            latency_headers: seconds until the headers of the answer came.
            latency_first_token: seconds until the first content of a stream came.
            request_id: the service's.
        """
        if not logger.isEnabledFor(logging.INFO):
            return
        used = usage or Usage()
        length = "" if result_length is None else f"{result_length} characters, "
        self._write(
            logging.INFO,
            "success",
            "answered in %.3f s, %sattempts: %d, tokens: %d in, %d out",
            (latency, length, attempts, used.prompt_tokens, used.completion_tokens),
            **self._question(),
            result_length=result_length,
            latency_headers=latency_headers,
            latency_first_token=latency_first_token,
            latency_total=latency,
            attempts=attempts,
            request_id=self._clean(request_id),
            tokens_in=used.prompt_tokens,
            tokens_out=used.completion_tokens,
        )

    def failure(self, error: QianfanError, latency: float, attempts: int, *, what: str = "failed") -> None:
        """The call failed for good; the caller gets the exception, and with it the traceback."""
        summary = self._clean(error.summary)
        self._write(
            logging.ERROR,
            "failure",
            f"{what} in %.3f s: %s",
            (latency, summary),
            **self._question(),
            **self._failed(error),
            latency_total=latency,
            attempts=attempts,
        )

    def _question(self) -> dict[str, Any]:
        call = self._call
        return {
            "dialect": call.dialect,
            "operation": call.operation,
            "model": call.model,
            "prompt": preview(call.prompt, self._secrets),
        }

    def _failed(self, error: QianfanError) -> dict[str, Any]:
        return {
            "code": self._clean(getattr(error, "code", None)),
            "error": self._clean(error.summary),
            "request_id": self._clean(getattr(error, "request_id", None)),
        }

    def _clean(self, value: Any) -> Any:
        return redact(value, self._secrets) if isinstance(value, str) else value

    def _write(self, level: int, event: str, text: str, values: tuple[object, ...], **fields: Any) -> None:
        extra = {"event": event, "call": self.number, **fields}
        logger.log(level, f"#%d {text}", self.number, *values, extra=extra)  # noqa: G004 - the values are arguments


def log_resumption(error: QianfanError, wait: float) -> None:
    """A stream that broke off goes on after ``wait`` seconds."""
    extra = {"event": "resume", "wait": wait, "error": error.summary}
    logger.warning("a stream broke off, going on in %.3f s: %s", wait, error.summary, extra=extra)


def preview(text: str, secrets: Iterable[str]) -> str:
    """The first 50 characters of a prompt. Keys are struck out before it is cut: half a key is a secret, too."""
    return redact_keys(redact(text, secrets))[:PREVIEW]


def configure_logging(
    *,
    json: bool = False,
    level: int | str = logging.INFO,
    stream: IO[str] | None = None,
    file: str | Path | None = None,
    secrets: Iterable[str] = (),
) -> logging.Handler:
    """Have the log of qfkit written somewhere. The root logger, and what others log, stay as they are.

    Calling it again replaces what it set up before. Whatever it writes, tracebacks too, it first strikes keys out of:
    what looks like one, tokens in addresses, and the ``secrets`` given.

    Args:
        json: one JSON object a line, with the fields of the record (extra ``logging``); else lines of text.
        level: from which level on: a number, or a name such as ``"DEBUG"``.
        stream: where to; None for the standard error.
        file: a file to append to instead, in UTF-8.
        secrets: what else to strike out.

    Returns:
        The handler, should you want to take it away.

    Raises:
        ConfigurationError: no such level, two places to write to, or the package is missing.
    """
    if stream is not None and file is not None:
        raise ConfigurationError("configure_logging writes to a stream or to a file: give one of them")
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ConfigurationError(f"level is one of DEBUG, INFO, WARNING, ERROR, CRITICAL or a number; got {level!r}")
    formatter = _Redacting(_json_formatter() if json else logging.Formatter(_TEXT), tuple(secrets))
    handler = logging.StreamHandler(stream) if file is None else logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(formatter)
    handler.set_name(_HANDLER)
    ours = logging.getLogger("qfkit")
    for old in [it for it in ours.handlers if it.get_name() == _HANDLER]:
        ours.removeHandler(old)
        old.close()
    ours.addHandler(handler)
    ours.setLevel(number)
    return handler


_HANDLER = "qfkit.configure_logging"
_TEXT = "%(asctime)s - %(levelname)s - %(name)s - %(message)s"


def _json_formatter() -> logging.Formatter:
    try:
        from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            'configure_logging(json=True) needs the package python-json-logger: pip install "qfkit[logging]"'
        ) from None
    renamed = {"asctime": "time", "levelname": "level", "name": "logger"}
    return JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=renamed, json_ensure_ascii=False
    )


class _Redacting(logging.Formatter):
    """Strikes secrets out of what another formatter made of a record: of the text, its fields and its traceback."""

    def __init__(self, inner: logging.Formatter, secrets: tuple[str, ...]) -> None:
        super().__init__()
        self._inner = inner
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """The line, clean."""
        return redact_keys(redact(self._inner.format(record), self._secrets))
