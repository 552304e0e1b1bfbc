"""What a client says of itself, so that the model can foretell what its calls return."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from qfkit.protocol.errors import ErrorSpec


class Policy(Protocol):
    """What is needed of a `qfkit.RetryPolicy`."""

    @property
    def attempts(self) -> int:
        """Requests of one call at most."""
        ...

    @property
    def also(self) -> frozenset[int | str]:
        """Codes that are tried again beside the table's."""
        ...

    @property
    def never(self) -> frozenset[int | str]:
        """Codes that are not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a client does when a request fails.

    Attributes:
        attempts: requests of one call at most, the first included, from 1.
        retries: the errors that it tries again: a function of the `ErrorSpec`, or their codes and HTTP statuses; None
            for those that the error table calls retryable.
        retries_broken: connections that break before an answer are tried again.
        retries_streams: streams that fail before their first content are tried again, as answers with that error are.
        tokens: it buys access tokens with its keys, as in v1 with ``ak`` and ``sk``.
        renews: it gets a new token, once, when the service says that its own has ended; the request that is repeated
            then counts for no attempt.
        sees_lines: an error in the middle of a stream is noticed also where it stands on a bare line of JSON.
        sees_cuts: a stream that ends in good order, but without the mark of its end, is taken for broken.
    """

    attempts: int = 3
    retries: Callable[[ErrorSpec], bool] | Collection[int | str] | None = None
    retries_broken: bool = True
    retries_streams: bool = True
    tokens: bool = False
    renews: bool = True
    sees_lines: bool = True
    sees_cuts: bool = True

    def __post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise ValueError(f"attempts is how many requests a call makes at most, from 1; got {self.attempts!r}")
        if isinstance(self.retries, str):
            raise TypeError(
                f"retries is a function, or a collection of codes such as {{18, 429}}; got {self.retries!r}"
            )

    @classmethod
    def of(cls, policy: Policy, *, tokens: bool = False) -> Behaviour:
        """That of the reference client under a `qfkit.RetryPolicy`.

        Args:
            policy: the policy.
            tokens: it buys tokens with its keys.
        """

        def retries(spec: ErrorSpec) -> bool:
            names = {spec.code, spec.status}
            return not names & policy.never and (spec.retryable or bool(names & policy.also))

        return cls(attempts=policy.attempts, retries=retries, tokens=tokens)

    def tries_again(self, spec: ErrorSpec) -> bool:
        """Whether another attempt follows this error, if any is left."""
        if self.retries is None:
            return spec.retryable
        if callable(self.retries):
            return self.retries(spec)
        return spec.code in self.retries or spec.status in self.retries
