"""What a call can fail with.

    QianfanError
    ├── ConfigurationError          set up wrongly; nothing was sent
    ├── TransportError              no answer
    │   ├── ConnectionFailed        could not connect, or the connection broke
    │   └── TimeoutExceeded         connected or answered too slowly
    ├── APIError                    the service answered with an error
    │   ├── BadRequestError         the request is wrong: change it
    │   ├── AuthenticationError     keys, signature or token were not accepted
    │   ├── PermissionDeniedError   the keys are right, but may not do this
    │   ├── NotFoundError           no such path or model
    │   ├── RateLimitError          too many requests or tokens, or a quota is used up
    │   └── ServerError             the service is overloaded or broken
    ├── InvalidReply                an answer that is not one of this dialect
    ├── InputRefused                an input rule does not let the question pass; nothing was sent
    ├── UnsafeContent               an output rule does not let the answer pass; .text holds what was safe
    ├── ToolError                   a Python function that the model called failed (only when asked to be strict)
    ├── ToolLoopExceeded            the model went on asking for calls
    └── StreamError                 a stream failed after its first content; .text holds what had come
        └── StreamTruncated         it ended before the service said that it was done

Every one of them can be pickled, so they cross process pools whole, and none ever holds a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qfkit.client.attempts import Attempt
    from qfkit.client.tools import ToolStep
    from qfkit.protocol.errors import ErrorSpec


class QianfanError(Exception):
    """Base of all.

    Attributes:
        attempts: the HTTP requests that the call made, the failed last one included.
        retryable: another attempt may succeed.
        gave_up: why a retryable failure was not tried again; None when it was never worth another try.
    """

    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.attempts: tuple[Attempt, ...] = ()
        self.gave_up: str | None = None

    @property
    def summary(self) -> str:
        """What happened, without advice: one line for a log or a table."""
        return str(self.args[0])

    def __str__(self) -> str:
        notes = [*self._notes()]
        if self.attempts:
            notes.append(f"{len(self.attempts)} attempt{'s' if len(self.attempts) > 1 else ''}")
        if self.gave_up:
            notes.append(f"gave up: {self.gave_up}")
        return f"{self.args[0]} [{'; '.join(notes)}]" if notes else f"{self.args[0]}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)

    def _notes(self) -> tuple[str, ...]:
        return ()


def _restore(kind: type[QianfanError], args: tuple[object, ...], state: dict[str, Any]) -> QianfanError:
    # Past __init__, whose keyword-only arguments the default pickling cannot give back.
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


def raise_if(error: QianfanError | None) -> None:
    """Raise ``error`` if there is one, without leaving a name bound to it.

    An exception that stands in a frame of its own traceback is a cycle. It would keep all those frames, and the
    connections in them, until the garbage collector happens to run. For the same reason this package writes
    ``raise found.pop()`` where it must raise outside the ``except`` block that made the exception.
    """
    if error is not None:
        try:
            raise error
        finally:
            del error


class ConfigurationError(QianfanError):
    """The client or the call is set up in a way that cannot work. Nothing was sent."""


class TransportError(QianfanError):
    """No answer came, or not all of it. Worth another attempt unless ``retryable`` says otherwise."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class ConnectionFailed(TransportError):
    """The connection could not be made, or broke before the answer was whole."""


class TimeoutExceeded(TransportError):
    """Connecting, or the next bytes of the answer, took longer than the timeout."""


class APIError(QianfanError):
    """The service answered with an error.

    Attributes:
        dialect: whose error it is: ``text_generation``, ``v1``, ``v2``, or ``oauth`` / ``iam`` for a token.
        code: the service's code: a number, in v2 and for tokens a string.
        status: the HTTP status. v1 reports most errors under 200.
        message: the service's own words.
        request_id: the service's id of the request, to quote to its support.
        spec: what is known of this code: meaning, remedy, kind.
        retry_after: seconds that the service asks to wait, None when it does not say.
        diagnosis: why a signature or a token was refused, as only the mock explains it (``X-Qfkit-Diagnosis``).
    """

    def __init__(
        self,
        message: str,
        *,
        dialect: str,
        code: int | str,
        status: int,
        spec: ErrorSpec,
        request_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
        diagnosis: str | None = None,
    ) -> None:
        words = message or spec.message
        said = " ".join(words.split())  # one line, whatever the service says
        headline = f"{dialect} error {code} (HTTP {status}){f': {said}' if said else ''}"
        super().__init__(_sentences(headline, spec.meaning, spec.remedy, diagnosis or ""))
        self._headline: str = headline
        self.dialect = dialect
        self.code = code
        self.status = status
        self.message = words
        self.spec = spec
        self.request_id = request_id
        self.retry_after = retry_after
        self.retryable = retryable
        self.diagnosis = diagnosis

    @property
    def summary(self) -> str:
        """Whose error, code, status and the service's own words."""
        return self._headline

    def _notes(self) -> tuple[str, ...]:
        return (f"request id {self.request_id}",) if self.request_id else ()


def _sentences(*texts: str) -> str:
    return " ".join(text if text.endswith((".", "!", "?", "。")) else f"{text}." for text in texts if text)


class BadRequestError(APIError):
    """The request is wrong, and stays wrong: change it before sending it again."""


class AuthenticationError(APIError):
    """The keys, the signature or the token were not accepted."""


class PermissionDeniedError(APIError):
    """The service knows who asks, and does not allow it: a model not opened, an account overdue."""


class NotFoundError(APIError):
    """There is no such path, endpoint or model."""


class RateLimitError(APIError):
    """Too many requests or tokens for now (``retryable``), or a quota that is used up (not)."""


class ServerError(APIError):
    """The service is overloaded, or failed at its own end."""


class InvalidReply(QianfanError):
    """An answer came, but it is not one that this dialect gives."""


class InputRefused(QianfanError):
    """An input rule does not let the question pass. Nothing was sent.

    Attributes:
        rule: the name of the rule.
        where: what it looked at: ``messages[0]``, ``system``, or ``request`` for all of it.
    """

    def __init__(self, message: str, *, rule: str, where: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.where = where


class UnsafeContent(QianfanError):
    """An output rule does not let the answer pass. A stream is closed by it.

    Attributes:
        rule: the name of the rule.
        kind: what kind of thing it found: a topic's name, ``word``, or the service's own mark.
        found: what it found, masked but for the first character.
        text: the answer up to there, which is safe by all rules.
        where: ``text`` or ``reasoning``.
        position: where the find begins, in characters.
    """

    def __init__(
        self, message: str, *, rule: str, kind: str, found: str = "", text: str = "", where: str = "text", position: int
    ) -> None:
        super().__init__(message)
        self.rule = rule
        self.kind = kind
        self.found = found
        self.text = text
        self.where = where
        self.position = position


class ToolError(QianfanError):
    """A call that the model asked for failed, and ``strict=True`` asks to be told. ``__cause__`` says what with.

    Attributes:
        name: of the tool.
        arguments: as the model gave them.
    """

    def __init__(self, message: str, *, name: str, arguments: Any) -> None:
        super().__init__(message)
        self.name = name
        self.arguments = arguments


class ToolLoopExceeded(QianfanError):
    """The model went on asking for calls, more often than allowed, or for the same one over and over.

    Attributes:
        rounds: answers that asked for calls.
        steps: the calls that were carried out.
    """

    def __init__(self, message: str, *, rounds: int, steps: Sequence[ToolStep] = ()) -> None:
        super().__init__(message)
        self.rounds = rounds
        self.steps = tuple(steps)


class StreamError(QianfanError):
    """A stream failed after its first content, so the call was not sent again.

    Attributes:
        text: what had come of the answer.
        chunks: how many chunks had come.
    """

    def __init__(self, message: str, *, text: str = "", chunks: int = 0, retryable: bool = False) -> None:
        super().__init__(message)
        self.text = text
        self.chunks = chunks
        self.retryable = retryable


class StreamTruncated(StreamError):
    """A stream ended before the service said that it was done: the text is not the whole answer."""
