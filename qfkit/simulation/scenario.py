"""What is simulated: who asks when, what the service does with it, and what lies between them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from random import Random
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

from mock_server.quota import Limits
from qfkit.protocol.dialects import INFERENCE_DIALECTS, InferenceDialect

Arrivals: TypeAlias = Literal["even", "poisson"]
Fault: TypeAlias = Literal["error", "hang", "reset"]

#: Calls of one simulation at most: the arrays that hold them are 30 bytes a call.
MOST_CALLS: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One situation that every policy is put into. Times are in seconds.

    With ``rate`` the load is *open*: calls begin at that rate whatever becomes of the others, and are dealt to the
    clients in turn. Without it, it is *closed*: every client asks ``calls`` times, one after the other.

    Attributes:
        name: for the report.
        clients: how many there are, 1 or more. A client is what has one retry budget.
        calls: of each client, where there is no ``rate``.
        over: in how long a time the clients begin, each at a moment of its own; 0 is all at once.
        rate: calls a second.
        duration: how long calls begin, with ``rate``.
        arrivals: with ``rate``: ``even`` spacing, or ``poisson``.
        limits: the quota that all clients share, counted by the mock's own `Quota`.
        outage_at: when the fault begins.
        outage: how long it lasts; 0 is no outage.
        fault: what requests meet meanwhile: an ``error`` (336100, overloaded) at once, a ``hang`` until ``timeout``,
            a ``reset`` of the connection.
        timeout: how long clients wait for an answer.
        error_rate: the chance of each other attempt to meet that error, 0 to 1, independently.
        contention: each attempt reads a version and then writes it, and fails if another was written in between: the
            optimistic concurrency control of Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).
        hop: on the way there, and again on the way back: mean of a normal distribution, folded at 0.
        hop_sd: its standard deviation.
        answer: from a request's arrival until its answer leaves. Refusals and errors leave at once.
        dialect: names the error codes, and says whether ``Retry-After`` comes with a refusal: in text_generation.
        deadline: an answer that takes longer, waits included, is no longer on time; see `Outcome.recovery`.
        seed: of everything that is drawn. All policies meet the same arrivals.

    Raises:
        ValueError: a value is out of its range, or the values do not go together.
    """

    name: str = "custom"
    clients: int = 1000
    calls: int = 1
    over: float = 0.0
    rate: float | None = None
    duration: float = 60.0
    arrivals: Arrivals = "even"
    limits: Limits = field(default_factory=Limits)
    outage_at: float = 0.0
    outage: float = 0.0
    fault: Fault = "error"
    timeout: float = 60.0
    error_rate: float = 0.0
    contention: bool = False
    hop: float = 0.02
    hop_sd: float = 0.005
    answer: float = 0.2
    dialect: InferenceDialect = "text_generation"
    deadline: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clients", "calls"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} is a whole number, 1 or more; got {value!r}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if name == "rate" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ValueError(f"{name} is a number from {low:g} to {high:g}; got {value!r}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if self.total > MOST_CALLS:
            raise ValueError(f"{self.total:,} calls are asked for, and {MOST_CALLS:,} are the most: fewer tell as much")
        if self.rate is not None and not self.total:
            raise ValueError(f"at rate={self.rate:g} no call begins in duration={self.duration:g}: make one larger")
        if self.rate is not None and (self.calls > 1 or self.over):
            raise ValueError("rate deals calls to the clients in turn, so calls and over say nothing: leave them out")
        if self.timeout <= self.answer + 2 * self.hop:
            raise ValueError(
                f"timeout={self.timeout:g} is no longer than answer and the way there and back: nothing is answered"
            )
        if self.contention and self.limits.limited:
            raise ValueError("contention has no quota: what refuses is another's write; leave the quota out")

    @property
    def total(self) -> int:
        """Calls in all."""
        return self.clients * self.calls if self.rate is None else math.floor(self.rate * self.duration + 1e-9)

    @property
    def says_when(self) -> bool:
        """Whether a refusal comes with ``Retry-After``. Of v1 and v2 nobody has seen it (wire reference 6)."""
        return self.dialect == "text_generation" and self.limits.limited

    @property
    def outage_end(self) -> float:
        """When the fault is over."""
        return self.outage_at + self.outage

    def beginnings(self, random: Random) -> array[float]:
        """When calls begin, in order: all of them with ``rate``, else the first of each client."""
        if self.rate is None:
            if not self.over:
                return array("d", bytes(8 * self.clients))
            return array("d", sorted(random.uniform(0.0, self.over) for _ in range(self.clients)))
        if self.arrivals == "even":
            return array("d", (number / self.rate for number in range(self.total)))
        # Given their number, the moments of a Poisson process are that many even draws (Ross, Stochastic Processes,
        # 2nd ed., theorem 2.3.1): so each run has as many calls as it was asked for.
        return array("d", sorted(random.uniform(0.0, self.duration) for _ in range(self.total)))

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {it.name: getattr(self, it.name) for it in fields(self)} | {"limits": self.limits.to_dict()}

    def words(self) -> str:
        """What it is, in one line or two."""
        if self.rate is None:
            each = "" if self.calls == 1 else f" {self.calls} times each, one after the other"
            when = f"within {self.over:g} s" if self.over else "all at once"
            who = f"{self.clients:,} clients ask{each}, {when}"
        else:
            spread = "evenly" if self.arrivals == "even" else "Poisson"
            who = f"{self.rate:g} calls a second for {self.duration:g} s ({spread}), dealt to {self.clients:,} clients"
        service = []
        if self.limits.limited:
            limits = {name: limit for name, limit in self.limits.to_dict().items() if name != "window"}
            named = " ".join(f"{name}={limit:,}" for name, limit in limits.items())
            counted = f" ({self.limits.window} windows)" if {"qps", "rpm"} & set(limits) else ""
            service.append(f"quota {named}{counted}")
        if self.outage:
            service.append(f"{_FAULTS[self.fault]} from {self.outage_at:g} s to {self.outage_end:g} s")
        if self.error_rate:
            service.append(f"{self.error_rate:.3g} of the attempts fail")
        if self.contention:
            service.append("each writes one row, by optimistic concurrency control")
        return f"{who}; {', '.join(service) or 'every attempt is answered'}"


_RANGES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "over": (0.0, 86_400.0),
        "rate": (0.001, 1e6),
        "duration": (0.001, 604_800.0),
        "outage_at": (0.0, 604_800.0),
        "outage": (0.0, 604_800.0),
        "timeout": (0.001, 3600.0),
        "error_rate": (0.0, 1.0),
        "hop": (0.0, 60.0),
        "hop_sd": (0.0, 60.0),
        "answer": (0.0, 3600.0),
        "deadline": (0.001, 86_400.0),
    }
)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"arrivals": get_args(Arrivals), "fault": get_args(Fault), "dialect": tuple(INFERENCE_DIALECTS)}
)
_FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {"error": "an outage with errors", "hang": "an outage that hangs", "reset": "an outage that resets connections"}
)

#: The situations that have a name. Each may be changed in any of its values.
SCENARIOS: Final[Mapping[str, Scenario]] = MappingProxyType(
    {
        "quota": Scenario(name="quota", clients=1000, limits=Limits(qps=100)),
        "outage": Scenario(
            name="outage", clients=100, rate=50.0, duration=120.0, limits=Limits(qps=100), outage_at=30.0, outage=20.0
        ),
        "errors": Scenario(name="errors", clients=10_000, over=10.0, error_rate=0.3),
        "contention": Scenario(
            name="contention", clients=100, contention=True, hop=0.01, hop_sd=0.002, answer=0.0, deadline=10.0
        ),
    }
)


def scenario(name: str, **changes: Any) -> Scenario:
    """A situation by its name, with some of its values changed.

    Args:
        name: ``quota`` (many clients, one quota), ``outage`` (steady calls, a fault in the middle), ``errors``
            (attempts fail by chance) or ``contention`` (clients in each other's way, as in AWS's article).
        **changes: see `Scenario`.

    Raises:
        ValueError: there is no such situation or value; the message names the nearest.
    """
    if name not in SCENARIOS:
        near = get_close_matches(name, SCENARIOS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SCENARIOS)}"
        raise ValueError(f"there is no scenario {name!r}; {hint}")
    known = [it.name for it in fields(Scenario)]
    for change in changes:
        if change not in known:
            near = get_close_matches(change, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(known)}"
            raise ValueError(f"a scenario has no {change!r}{hint}")
    return replace(SCENARIOS[name], **changes)
