"""Who contends: `RetryPolicy` as it is, and the libraries that people retry with, by their own rules.

A policy is written as ``NAME`` or ``NAME:option=value,option=value``, and with ``LABEL=`` before it where reports shall
call it something shorter. The names are the rows of `OURS`, each a
`RetryPolicy` whose fields are the options, and of `LIBRARIES`, whose options are the library's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from random import Random
from types import MappingProxyType
from typing import Any, Final, Protocol

from qfkit.client.budget import Purse, RetryBudget
from qfkit.client.exceptions import APIError, ConfigurationError, QianfanError
from qfkit.client.retry import Decision, RetryPolicy
from qfkit.grading.schedules import SCHEDULES, Declared, named
from qfkit.simulation.scenario import Scenario


class Policy(Protocol):
    """What says whether to try again, and when; as `RetryPolicy.decide`."""

    @property
    def budget(self) -> RetryBudget | None:
        """How many retries the calls of one client may make together."""
        ...

    def decide(
        self,
        error: QianfanError,
        *,
        failures: int,
        elapsed: float,
        random: Random,
        previous: float | None = None,
        purse: Purse | None = None,
    ) -> Decision:
        """As `RetryPolicy.decide`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryPolicy:
    """How a library retries: its schedule, and what it makes of ``Retry-After``.

    Which errors it holds to be worth another attempt is left out: all policies are shown the same failures, and what
    the error table calls permanent is tried again by none.

    Attributes:
        schedule: of its waits.
        attempts: of one call at most.
        retry_after: the longest ``Retry-After`` that it knows, in seconds; 0 where it does not look at the header.
        gives_up: a longer one ends the call; otherwise it is cut off.
        whole_seconds: it reads only the header's whole seconds, not ``retry-after-ms`` beside it.
    """

    schedule: Declared
    attempts: int
    retry_after: float = 0.0
    gives_up: bool = False
    whole_seconds: bool = False

    @property
    def budget(self) -> RetryBudget | None:
        """None of them has one."""
        return None

    def decide(
        self,
        error: QianfanError,
        *,
        failures: int,
        elapsed: float,  # noqa: ARG002 - no limit of time
        random: Random,
        previous: float | None = None,
        purse: Purse | None = None,  # noqa: ARG002 - no budget
    ) -> Decision:
        """As `RetryPolicy.decide`."""
        if not error.retryable:
            return Decision(None, "", "permanent")
        if failures >= self.attempts:
            return Decision(None, f"{self.attempts} attempts", "attempts")
        asked = error.retry_after if isinstance(error, APIError) and self.retry_after else None
        if asked:
            if asked > self.retry_after and self.gives_up:
                return Decision(None, f"asked to wait {asked:g} s", "retry_after_ceiling")
            seconds = math.ceil(asked) if self.whole_seconds else asked
            return Decision(min(seconds, self.retry_after), "retry-after")
        draw = self.schedule.after(failures, previous)
        if draw is None:
            return Decision(None, str(self.schedule), "attempts")
        return Decision(draw.draw(random), "backoff")


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy under a name.

    Attributes:
        label: how reports call it.
        policy: what decides.
        honours: whether it is told what the service says in ``Retry-After``.
        text: what it was written as, where it was.
    """

    label: str
    policy: Policy
    honours: bool = True
    text: str = ""

    @property
    def heeds(self) -> bool:
        """Whether it waits as long as the service asks."""
        return self.honours and not (isinstance(self.policy, LibraryPolicy) and not self.policy.retry_after)


#: Name -> the `RetryPolicy` that it is, unless options change it. Attempts are many enough to tell the waits apart.
OURS: Final[Mapping[str, RetryPolicy]] = MappingProxyType(
    {
        "none": RetryPolicy(attempts=1),
        "immediate": RetryPolicy(attempts=8, base=0.0, jitter="none"),
        "fixed": RetryPolicy(attempts=8, base=1.0, factor=1.0, jitter="none"),
        "exponential": RetryPolicy(attempts=8, jitter="none"),
        "full": RetryPolicy(attempts=8, jitter="full"),
        "equal": RetryPolicy(attempts=8, jitter="equal"),
        "decorrelated": RetryPolicy(attempts=8, jitter="decorrelated"),
        "qfkit": RetryPolicy(),
    }
)

#: Name of a schedule -> how the library around it behaves by default. Read off their sources; a test holds these rows
#: to the installed ones.
LIBRARIES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "qianfan": {"attempts": 3},
        "openai": {"attempts": 3, "retry_after": 120.0, "gives_up": True},
        "urllib3": {"attempts": 11, "retry_after": 21_600.0, "whole_seconds": True},
        "stamina": {"attempts": 10},
        "tenacity-random": {"attempts": 8},
        "tenacity-jitter": {"attempts": 8},
    }
)

_DEAF: Final = "retry_after=no"
#: The milliseconds of AWS's article. What is contended for is free again soon, so there is no end of attempts.
_AWS: Final = "cap=2,attempts=100000,max_total=none"
_LIBRARIES: Final = ("qfkit", "qianfan", "openai", "urllib3:backoff_factor=0.5")

#: What is compared when nobody says what, by scenario. The kinds of jitter differ in a
#: quota only where its refusals do not say when to come back, or nobody heeds it.
DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "quota": (
            *("none", "fixed:attempts=20", "full:attempts=20"),
            *(f"{name}:{_DEAF}" for name in ("exponential", "full", "equal", "decorrelated")),
            *_LIBRARIES,
        ),
        "outage": (
            *("none", "fixed", "exponential", "full", "equal", "decorrelated"),
            "full:budget=0.2",
            *_LIBRARIES,
        ),
        "errors": ("none", "immediate", "fixed", "exponential", "full", "equal", "decorrelated", *_LIBRARIES),
        "contention": (
            f"immediate=immediate:{_AWS}",
            *(f"{name}={name}:base=0.01,{_AWS}" for name in ("exponential", "full", "equal")),
            f"decorrelated=decorrelated:base=0.005,{_AWS}",
        ),
    }
)


def default(scenario: Scenario) -> Sequence[str]:
    """What to compare in a scenario when nobody says what."""
    if scenario.name == "quota" and scenario.says_when:
        return DEFAULTS["quota"]
    return DEFAULTS[scenario.name if scenario.name in {"outage", "contention"} else "errors"]


_NUMBERS: Final = ("attempts", "base", "factor", "cap", "retry_after_ceiling", "max_total", "budget", "reserve")
_FLAG: Final[Mapping[str, bool]] = MappingProxyType({"yes": True, "no": False})


def contender(text: str) -> Contender:
    """What ``text`` names: ``full:base=0.5,cap=20``, ``openai``, ``mine=urllib3:backoff_factor=0.5``.

    The names of `OURS` have the fields of `RetryPolicy` as options; ``max_total=none`` lifts that limit, ``budget=0.1``
    and ``reserve=10`` are those of a `RetryBudget`. The names of `LIBRARIES` have those of
    `qfkit.grading.schedules.named`. All have ``attempts``, and ``retry_after=no`` for a client that does not look at
    what the service says.

    Raises:
        ValueError: there is no such policy or option, or a value is out of its range; the message names the nearest.
    """
    label, equals, written = text.partition("=")
    if not equals or ":" in label:
        label = written = text
    label, written = label.strip(), written.strip()
    if not label:
        raise ValueError(f"a label stands before its =, as in mine=full:base=0.5; got {text!r}")
    name, _, rest = written.partition(":")
    name = name.strip()
    known = [*OURS, *LIBRARIES]
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        raise ValueError(f"there is no policy {name!r}; {hint}")
    given = _options(name, rest)
    told = given.pop("retry_after", "yes")
    if told not in _FLAG:
        raise ValueError(
            f"retry_after of a policy is yes or no: whether it heeds Retry-After; got {told!r} in {text!r}"
        )
    try:
        policy = _ours(name, given) if name in OURS else _library(name, given)
    except (ValueError, ConfigurationError) as error:
        raise ValueError(f"policy {text!r}: {error}") from error
    return Contender(label, policy, _FLAG[told], written)


def contenders(policies: Iterable[str | Contender] | Mapping[str, RetryPolicy]) -> list[Contender]:
    """All of them, under names that differ.

    Args:
        policies: texts as `contender` reads them, or policies by name.

    Raises:
        ValueError: one of them is none, or there is none, or two have the same name.
    """
    found = (
        [Contender(label, policy) for label, policy in policies.items()]
        if isinstance(policies, Mapping)
        else [contender(it) if isinstance(it, str) else it for it in policies]
    )
    if not found:
        raise ValueError("there is no policy to simulate: name one, such as full:base=0.5")
    labels = [it.label for it in found]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise ValueError(f"the policy {twice!r} is there twice: leave one out, or change its options")
    return found


def _options(name: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise ValueError(f"options of a policy are written option=value, as in full:base=0.5,cap=20; got {part!r}")
        if option in found:
            raise ValueError(f"the option {option!r} of {name} is there twice")
        found[option] = value
    return found


def _ours(name: str, given: Mapping[str, str]) -> RetryPolicy:
    values: dict[str, Any] = {}
    for option, value in given.items():
        if option not in (*_NUMBERS, "jitter"):
            raise ValueError(_unknown(name, option, (*_NUMBERS, "jitter", "retry_after")))
        values[option] = _value(option, value)
    ratio, reserve = values.pop("budget", None), values.pop("reserve", None)
    if reserve is not None and ratio is None:
        raise ValueError("reserve is a part of a budget: give budget too, as in budget=0.1,reserve=10")
    start = OURS[name]
    fields = {it: getattr(start, it) for it in ("attempts", "base", "factor", "cap", "jitter")} | values
    if ratio is not None:
        fields["budget"] = RetryBudget(ratio=ratio, **({} if reserve is None else {"reserve": reserve}))
    return RetryPolicy(**fields)


def _library(name: str, given: Mapping[str, str]) -> LibraryPolicy:
    rules = dict(LIBRARIES[name])
    options = SCHEDULES[name][1]
    values: dict[str, float] = {}
    for option, value in given.items():
        if option not in options and option != "attempts":
            raise ValueError(_unknown(name, option, ("attempts", *options, "retry_after")))
        number = _value(option, value)
        if not isinstance(number, (int, float)) or number < 0:
            raise ValueError(f"{option} is a number, 0 or more; got {value!r}")
        values[option] = number
    attempts = values.pop("attempts", rules.pop("attempts"))
    rules.pop("attempts", None)
    if attempts < 1 or attempts % 1:
        raise ValueError(f"attempts is a whole number, 1 or more; got {attempts!r}")
    return LibraryPolicy(schedule=named(name, **values), attempts=int(attempts), **rules)


def _value(option: str, text: str) -> float | int | str | None:
    if option == "jitter":
        return text
    if option == "max_total" and text == "none":
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{option} is a number; got {text!r}")
    return int(number) if number == int(number) else number


def _unknown(name: str, option: str, known: Iterable[str]) -> str:
    known = list(known)
    near = get_close_matches(option, known, n=1)
    return f"{name} has no option {option!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
    )
