"""Waits: the client's own, and those that the service asks for; and limits, which are why there are any."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from typing import Any

from qfkit.testing.conformance.answers import MOST_ATTEMPTS
from qfkit.testing.conformance.case import Case, Expected, Outcome
from qfkit.testing.conformance.shape import PIECES, TEXT
from qfkit.testing.conformance.stage import Stage

#: More than any caller waits for an answer, in seconds.
PATIENCE = 300.0

_ASKED_TO_WAIT = ("v2", "text_generation")
_RFC = "RFC 9110, 10.2.3"
_VERDICT = "docs/verdicts.md"


def _busy(stage: Stage, times: Any = "forever") -> Any:
    """A refusal that another attempt may cure."""
    return stage.account.fail("rpm_rate_limit_exceeded" if stage.shape.dialect == "v2" else 336100, times=times)


def _four(stage: Stage) -> Outcome:
    """Four different questions, one after the other."""
    return [stage.ask(f"背一首诗，第{number}首") for number in range(1, 5)][-1]


def _backoff(name: str, what: str, expected: Expected, do: str, why: str, **options: Any) -> Case:
    return Case(
        name=f"backoff/{name}",
        what=what,
        expected=expected,
        do=do,
        why=why,
        script=options.pop("script", _busy),
        needs=options.pop("needs", ("retries",)),
        **options,
    )


_BACKOFF = (
    _backoff(
        "recovers",
        "two attempts of a call are refused, the third is not",
        Expected(text=TEXT, attempts=(3, 3)),
        "Try again more than once.",
        "a limit of requests a minute may refuse several in a row (wire reference 6)",
        script=lambda stage: _busy(stage, 2).then.reply(TEXT),
        level="recommended",
    ),
    _backoff(
        "gives-up",
        "every attempt is refused",
        Expected(fails=True, attempts=(2, MOST_ATTEMPTS)),
        "Stop after 3 to 5 attempts, and raise what the service said last.",
        f"{_VERDICT}: too-many-attempts",
    ),
    _backoff(
        "waits",
        "every attempt is refused",
        Expected(fails=True, free_of=("no-backoff",)),
        "Wait before each retry: twice as long each time, jittered, up to a cap.",
        f"{_VERDICT}: no-backoff; retries without a wait are an attack on a service that is busy",
        play=_four,
    ),
    _backoff(
        "grows",
        "every attempt is refused",
        Expected(fails=True, free_of=("backoff-not-growing",)),
        "Multiply the wait by 2 after each failure, up to a cap.",
        f"{_VERDICT}: backoff-not-growing",
        play=_four,
        level="recommended",
    ),
    _backoff(
        "jitter",
        "every attempt of four calls is refused",
        Expected(fails=True, free_of=("no-jitter", "lockstep")),
        "Draw each wait at random, best from 0 to the longest.",
        f"{_VERDICT}: no-jitter; clients that fail together must not come back together",
        play=_four,
        level="recommended",
    ),
    _backoff(
        "cap",
        "every attempt is refused",
        Expected(fails=True, free_of=("cap-exceeded",)),
        "Cap the wait, at 30 s or so.",
        f"{_VERDICT}: cap-exceeded",
    ),
    _backoff(
        "one-loop",
        "every attempt is refused",
        Expected(fails=True, free_of=("layers-stacked", "too-many-attempts", "amplification-over-budget")),
        "Let one layer try again, and switch the others off.",
        f"{_VERDICT}: layers-stacked; attempts of nested loops multiply",
        play=_four,
    ),
    _backoff(
        "not-after-content",
        "the stream breaks off after two pieces, every time",
        Expected(fails=True, so_far="".join(PIECES[:2]), free_of=("retried-after-content",)),
        "Try again only before the first piece of content; later, raise an error.",
        f"{_VERDICT}: retried-after-content; a second answer differs from the first",
        script=lambda stage: stage.raw(stage.shape.says(*PIECES[:2]), ending="cut"),
        streamed=True,
        needs=("stream",),
        level="recommended",
    ),
)


# Retry-After


def _refused(stage: Stage, headers: Sequence[tuple[str, str]], status: int = 429) -> None:
    v2 = stage.shape.dialect == "v2"
    code: int | str = (
        ("rpm_rate_limit_exceeded" if v2 else 18) if status == 429 else ("internal_error" if v2 else 336100)
    )
    stage.raw(
        stage.shape.error(code),
        status=status,
        headers=headers,
        streamed=False,
        content_type="application/json",
        times=1,
    )
    stage.account.reply(TEXT)


def _asked(
    name: str,
    what: str,
    headers: Callable[[], Sequence[tuple[str, str]]],
    expected: Expected,
    *,
    do: str = "Read Retry-After, as seconds or as a date, and wait at least as long.",
    why: str = _RFC,
    status: int = 429,
    **options: Any,
) -> Case:
    return Case(
        name=f"retry-after/{name}",
        what=f"HTTP {status} {what}, then an answer",
        expected=expected,
        do=do,
        why=why,
        script=lambda stage: _refused(stage, headers(), status),
        needs=("stream", "retries") if options.get("streamed") else ("retries",),
        dialects=_ASKED_TO_WAIT,
        **options,
    )


def _after(seconds: float, **more: Any) -> Expected:
    return Expected(text=TEXT, attempts=(2, 2), wait=(seconds, PATIENCE), **more)


def _says(value: str, name: str = "Retry-After") -> Callable[[], Sequence[tuple[str, str]]]:
    return lambda: [(name, value)]


#: Values that ask for nothing that can be done, and what they are.
_ABSURD: dict[str, tuple[str, str]] = {
    "word": ("soon", "a word"),
    "negative": ("-5", "negative"),
    "nan": ("nan", "what float() takes for no number"),
    "infinite": ("inf", "what float() takes for infinity"),
    "overflow": ("1e400", "a number that no float holds"),
    "digits": ("9" * 400, "400 digits"),
    "empty": ("", "empty"),
    "past": ("Sun, 06 Nov 1994 08:49:37 GMT", "a date that is past"),
    "year-9999": ("Fri, 31 Dec 9999 23:59:59 GMT", "a date in the year 9999"),
    "no-date": ("Mon, 99 Foo 2026 99:99:99 GMT", "like a date and none"),
    "several": ("3, 5", "two numbers"),
}


def _retry_after() -> Iterator[Case]:
    yield _asked("seconds", "asks for 3 seconds", _says("3"), _after(3))
    yield _asked(
        "lower-case",
        "asks for 3 seconds, in a header written `retry-after`",
        _says("3", "retry-after"),
        _after(3),
        why="RFC 9110, 5.1: names ignore case",
    )
    yield _asked("streamed", "asks a request for a stream for 3 seconds", _says("3"), _after(3), streamed=True)
    yield _asked(
        "date",
        "names a moment 6 seconds ahead",
        lambda: [("Retry-After", formatdate(time.time() + 6, usegmt=True))],
        _after(4.5),  # a date has no fractions of a second, nor has the answer's own
        level="recommended",
    )
    yield _asked(
        "milliseconds",
        "asks for 2500 milliseconds (`retry-after-ms`)",
        _says("2500", "retry-after-ms"),
        _after(2.5),
        why="wire reference 6: openai-python and Qianfan's JavaScript SDK read it",
        level="recommended",
    )
    yield _asked(
        "milliseconds-and-seconds",
        "asks for 2500 milliseconds, and rounded for 3 seconds",
        lambda: [("Retry-After", "3"), ("retry-after-ms", "2500")],
        _after(2.5),
        why="wire reference 6: the milliseconds are the exact ones",
    )
    yield _asked(
        "fraction",
        "asks for `2.5` seconds",
        _says("2.5"),
        _after(2.5),
        why="not of RFC 9110, which has whole seconds; openai-python reads it, and services send it",
        level="recommended",
    )
    yield _asked(
        "zero", "asks for no wait", _says("0"), _after(0), do="Try again, at once or after a wait of your own."
    )
    yield _asked(
        "server-error",
        "asks for 3 seconds",
        _says("3"),
        _after(3),
        status=500,
        level="recommended",
        why=f"{_RFC}: any answer may carry it",
    )
    yield _asked(
        "minute",
        "asks for 60 seconds",
        _says("60"),
        Expected(text=TEXT, fails=True, attempts=(1, 2), wait=(60, PATIENCE)),
        do="Wait for as long as the service asks, or give up at once; never come back earlier.",
        why="wire reference 6: a limit of requests a minute frees itself within 60 seconds",
    )
    yield _asked(
        "day",
        "asks for 86400 seconds",
        _says("86400"),
        Expected(fails=True, attempts=(1, 1)),
        do="Give up at once when the wait is longer than any caller is patient, and say until when.",
        why="a caller who is held for a day has been left in the lurch; one who comes back earlier was told not to",
        level="recommended",
    )
    for name, (value, words) in _ABSURD.items():
        yield _asked(
            name,
            f"with a Retry-After that is {words}",
            _says(value),
            Expected(text=TEXT, fails=True, attempts=(1, 2), wait=(0.0, PATIENCE)),
            do="Take what cannot be read or meant for no advice: wait as without it, or give up; do not crash or hang.",
            why=f"{_RFC} has other values; proxies and misconfigured services send them all the same",
        )


# Quotas


def _twice(stage: Stage) -> Outcome:
    first = stage.ask("第一问")
    return first if first.error else stage.ask("第二问")


def _tried_again(stage: Stage, _outcome: Outcome) -> str | None:
    refused = [each for each in stage.outcomes if each.requests and not each.requests[0].ok]
    again = [each for each in refused if len(each.requests) > 1]
    return f"of {len(refused)} questions that were refused it tried none again" if refused and not again else None


_QUOTAS = (
    Case(
        name="quotas/daily",
        what="the account may ask once a day; the second question is refused",
        expected=Expected(fails=True, attempts=(1, 1)),
        do="Raise at once: a daily quota is not there again before midnight.",
        why="docs/errors.md: 17",
        script=lambda stage: stage.account.quota(daily=1),
        play=_twice,
        dialects=("v1",),
    ),
    Case(
        name="quotas/total",
        what="the account may ask once at all; the second question is refused",
        expected=Expected(fails=True, attempts=(1, 1)),
        do="Raise at once: what is used up does not come back.",
        why="docs/errors.md: 19",
        script=lambda stage: stage.account.quota(total=1),
        play=_twice,
        dialects=("v1",),
    ),
    Case(
        name="quotas/qps",
        what="the account may ask once a second; four questions come one after the other",
        expected=Expected(
            attempts=(1, MOST_ATTEMPTS), free_of=("no-backoff",), also=_tried_again, words="tries again what is refused"
        ),
        do="Try again after a wait: the window is over within a second.",
        why="wire reference 6",
        script=lambda stage: stage.account.quota(qps=1),
        play=_four,
        needs=("retries",),
    ),
    Case(
        name="quotas/rpm",
        what="the account may ask once a minute; the second question comes at once",
        expected=Expected(attempts=(1, MOST_ATTEMPTS)),
        do="Wait until the window is over, or raise after a few attempts; do not hammer.",
        why="wire reference 6",
        script=lambda stage: stage.account.quota(rpm=1, window="sliding"),
        play=_twice,
    ),
)

CASES: tuple[Case, ...] = (*_BACKOFF, *_retry_after(), *_QUOTAS)
