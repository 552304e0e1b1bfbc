"""A script as data: steps that can be put on an account, and that print as the Python that does so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, TypeVar

from mock_server.scripting import Scripting
from qfkit.protocol.errors import ErrorSpec, translate

S = TypeVar("S", bound=Scripting)

#: Options of a stream under which the whole answer arrives all the same, at any client that reads event streams right.
HARMLESS: Final = frozenset(
    {
        *("chunk", "ttft", "interval", "tokens_per_second", "jitter", "spread", "seed", "timing"),
        *("comment_every", "keep_alive", "comment", "stall_after", "stall"),
        *("newline", "bom", "writes", "events_per_write", "write_interval", "early_headers"),
    }
)


@dataclass(frozen=True)
class Step:
    """One step of a script.

    Attributes:
        method: of the account: ``reply``, ``fail``, ``stream`` or ``fault``.
        said: what it is given: the text, the code, the pieces, the kind.
        options: keywords beside it.
        times: how many requests meet it, from 1.
    """

    method: str
    said: Any
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    times: int = 1

    def __repr__(self) -> str:
        return f"account.{self}"

    def __str__(self) -> str:
        written = [repr(self.said), *(f"{name}={value!r}" for name, value in self.options.items())]
        return f"{self.method}({', '.join([*written, *([f'times={self.times}'] if self.times > 1 else [])])})"

    def __hash__(self) -> int:
        return hash(str(self))

    def apply(self, account: S) -> S:
        """Queue it on an account or a rule, and return that."""
        more = {"times": self.times} if self.times > 1 else {}
        queued: S = getattr(account, self.method)(self.said, **self.options, **more)
        return queued

    def to_data(self) -> dict[str, Any]:
        """The step as `Scripting.play`, the configuration file and the control API take it."""
        more = {"times": self.times} if self.times > 1 else {}
        return {self.method: self.said, **self.options, **more}

    def error(self, dialect: str) -> ErrorSpec | None:
        """The error that a request in this dialect meets; None where the step is no `fail`."""
        return translate(self.said, dialect) if self.method == "fail" else None

    @property
    def text(self) -> str | None:
        """The whole answer as the model meant it, None where the step answers nothing of its own."""
        match self.method:
            case "reply":
                return str(self.said)
            case "stream":
                return "".join(self.said)
        return None

    @property
    def harmless(self) -> bool:
        """The whole answer arrives, whatever it looks like on its way, also as a stream."""
        return self.method in {"reply", "stream"} and HARMLESS.issuperset(self.options)


@dataclass(frozen=True)
class Script:
    """Steps, met one after the other.

    Attributes:
        steps: one or more.
    """

    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        return f"account.{'.then.'.join(map(str, self.steps))}"

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        """How many requests meet a step."""
        return sum(step.times for step in self.steps)

    def apply(self, account: S) -> S:
        """Queue all steps on an account or a rule, and return that."""
        for step in self.steps:
            step.apply(account)
        return account

    def to_data(self) -> list[dict[str, Any]]:
        """The steps as `Scripting.play`, the configuration file and the control API take them."""
        return [step.to_data() for step in self.steps]

    def unrolled(self) -> tuple[Step, ...]:
        """What each request meets, in turn."""
        return tuple(replace(step, times=1) for step in self.steps for _ in range(step.times))


def script_of(steps: list[Step]) -> Script:
    """A script in which equal neighbours are one step of several ``times``."""
    joined: list[Step] = []
    for step in steps:
        if joined and joined[-1].method == step.method == "fail" and replace(joined[-1], times=step.times) == step:
            joined[-1] = replace(joined[-1], times=joined[-1].times + step.times)
        else:
            joined.append(step)
    return Script(tuple(joined))
