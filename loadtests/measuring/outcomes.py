"""From what the client says of a call to a `Sample`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.measuring.samples import Attempted, Phase
from qfkit.client.attempts import Attempt
from qfkit.client.exceptions import APIError, QianfanError, StreamError, StreamTruncated, TransportError


def attempted(
    attempts: Sequence[Attempt], error: QianfanError | None, *, began: float, sends: Sequence[tuple[float, bool]]
) -> list[Attempted]:
    """Each attempt of a call as it is counted.

    Args:
        attempts: of the call, in order.
        error: what the call failed with, None when it did not.
        began: Unix time of the call's beginning.
        sends: for each inference request, the Unix time when it was sent, and whether a connection was made for it.
            There is none for an attempt that failed before: its token was refused.
    """
    found = []
    for index, attempt in enumerate(attempts):
        at, connected = sends[index] if index < len(sends) else (began + attempt.started, True)
        last = error if index == len(attempts) - 1 else None
        found.append(
            Attempted(
                at=at,
                status=last.status if isinstance(last, APIError) else attempt.status,
                code=_code(attempt, last),
                what=_what(attempt, last),
                phase=_phase(attempt, last, connected=connected),
                waited=attempt.waited,
                wait_reason=attempt.wait_reason,
                elapsed=attempt.elapsed,
            )
        )
    return found


def _code(attempt: Attempt, error: QianfanError | None) -> int | str | None:
    return error.code if isinstance(error, APIError) else attempt.code


def _what(attempt: Attempt, error: QianfanError | None) -> str:
    if error is not None:
        # The service's code says it all, but not that it came in the middle of a stream.
        return "" if isinstance(error, APIError) else type(error).__name__
    if attempt.error is None or attempt.code is not None:
        return ""
    return "no answer" if attempt.status is None else "bad answer"


def _phase(attempt: Attempt, error: QianfanError | None, *, connected: bool) -> Phase:
    if attempt.error is None and error is None:
        return ""
    if isinstance(error, StreamTruncated):
        return "truncated"
    if isinstance(error, StreamError):
        return "mid-stream"
    if attempt.status is None:
        return "headers" if connected else "connect"
    return "mid-stream" if isinstance(error, TransportError) else "body"
