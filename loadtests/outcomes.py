"""From what the client says of a call to what it is counted under. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadtests.tally import Failure
from qfkit.client.attempts import Attempt
from qfkit.client.exceptions import APIError, QianfanError


def call_failure(error: QianfanError) -> Failure:
    """What a failed call is counted under: the service's code where it gave one, else the exception's name."""
    if isinstance(error, APIError):
        return Failure(error.status, error.code)
    last = error.attempts[-1] if error.attempts else None
    if last is not None and last.code is not None:  # the service broke off a stream with an error of its own
        return Failure(last.status, last.code, type(error).__name__)
    return Failure(last.status if last else None, None, type(error).__name__)


def attempt_failures(attempts: Sequence[Attempt], error: QianfanError | None) -> Iterator[Failure]:
    """What each attempt of a call failed with.

    Args:
        attempts: of the call, in order.
        error: what the call failed with, None when it did not.
    """
    for index, attempt in enumerate(attempts):
        if error is not None and index == len(attempts) - 1:
            yield call_failure(error)
        elif attempt.error is not None:
            what = "" if attempt.code is not None else "no answer" if attempt.status is None else "bad answer"
            yield Failure(attempt.status, attempt.code, what)
