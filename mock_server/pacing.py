"""When the pieces of a stream leave: rates, jitter and recorded timing, as numbers and without a clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

from mock_server.faults.options import MANY, OptionError, Options, moments, number, one_of, option, seconds, whole
from qfkit.protocol.tokens import estimate

#: Distribution -> what a wait is multiplied by, given the spread. ``fixed``, ``uniform`` and ``normal`` keep the mean
#: of the waits: the normal one is cut off at both sides alike, since no wait is negative. ``lognormal`` keeps their
#: median and has a long tail, as WireMock's does: the mean is exp(spread² / 2) times as long.
JITTERS: dict[str, Callable[[Random, float], float]] = {
    "fixed": lambda _random, _spread: 1.0,
    "uniform": lambda random, spread: random.uniform(1 - spread, 1 + spread),
    "normal": lambda random, spread: min(2.0, max(0.0, random.normalvariate(1.0, spread))),
    "lognormal": lambda random, spread: random.lognormvariate(0.0, spread),
}
_WIDEST = {"uniform": 1.0, "normal": 1.0, "lognormal": 3.0}
_SPREAD = 0.5


@dataclass(frozen=True)
class Pace(Options):
    """When the events of content leave; the end of a stream leaves with the last of them.

    Raises:
        OptionError: an option is out of its range, or two contradict each other.
    """

    ttft: float = option(0.0, seconds(), "from the request to the first content (time to first token)")
    interval: float = option(0.0, seconds(), "between events of content after that")
    tokens_per_second: float | None = option(
        None,
        number(0.001, 1_000_000, "tokens a second", optional=True),
        "instead of `interval`: events wait by the tokens they carry, so that the answer's `usage.completion_tokens` "
        "leave at this rate",
    )
    jitter: str = option(
        "fixed",
        one_of(*JITTERS),
        "how `ttft` and every wait after it vary from request to request: not at all; evenly to both sides; by a "
        "normal distribution (cut off at 0 and at twice the wait); by a lognormal one around the wait as its median",
    )
    spread: float | None = option(
        None,
        number(0.0, 3.0, optional=True),
        "how far, as a share of the wait: half the width (`uniform`, to 1), the standard deviation (`normal`, to 1), "
        "sigma (`lognormal`, to 3); 0.5 when it is not given",
    )
    seed: int = option(0, whole(-MANY, MANY), "other jitter; the same seeds, here and in the settings, give the same")
    timing: tuple[float, ...] = option(
        (),
        moments(),
        "instead of the above, the recorded moment of each event of content; a longer stream begins again with the "
        "recorded gaps",
    )

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if self.tokens_per_second is not None and self.interval:
            raise OptionError("tokens_per_second", "interval and tokens_per_second are two rates: give one of them")
        if self.timing and (self.ttft or self.interval or self.tokens_per_second or self.jitter != "fixed"):
            raise OptionError("timing", "timing holds every moment already: it goes without ttft, rates and jitter")
        if self.spread is not None:
            if self.jitter == "fixed":
                raise OptionError("spread", "spread says how far jitter goes: add jitter='uniform', or another one")
            if self.spread > _WIDEST[self.jitter]:
                widest = _WIDEST[self.jitter]
                raise OptionError("spread", f"spread is at most {widest:g} with jitter={self.jitter!r}: "
                                            f"a wider one would need negative waits; got {self.spread:g}")  # fmt: skip

    @property
    def jittered(self) -> bool:
        """The waits vary, so that `times` needs a source of randomness."""
        return self.jitter != "fixed"

    def times(self, texts: Sequence[str], random: Random | None = None) -> tuple[float, ...]:
        """When each event of content leaves, in seconds after the request; never empty.

        Args:
            texts: what each event says. An answer that says nothing still ends: it has one moment, ``ttft``.
            random: where jitter comes from; the same state gives the same times. Without jitter it is not used.
        """
        count = max(1, len(texts))
        if self.timing:
            return tuple(accumulate(_again(self.timing, count)))
        if self.tokens_per_second is None:
            if not self.jittered:
                ttft, interval = self.ttft, self.interval
                return tuple([ttft + index * interval for index in range(count)]) if interval else (ttft,) * count
            waits = [self.ttft, *[self.interval] * (count - 1)]
        else:
            waits = [self.ttft, *(tokens / self.tokens_per_second for tokens in _shares(texts)[1:])]
        if self.jittered:
            source = random or Random(self.seed)
            factor, spread = JITTERS[self.jitter], _SPREAD if self.spread is None else self.spread
            waits = [wait * factor(source, spread) for wait in waits]
        return tuple(accumulate(waits))


IMMEDIATE = Pace()


def _again(timing: Sequence[float], count: int) -> list[float]:
    """Waits of ``count`` events: the first moment, then the recorded gaps over and over."""
    gaps = [later - earlier for earlier, later in pairwise(timing)] or [0.0]
    return [timing[0], *(gaps[index % len(gaps)] for index in range(count - 1))]


def _shares(texts: Sequence[str]) -> list[float]:
    """The tokens of each text, as shares of those of the whole: estimates of parts are rounded up, each."""
    parts = [estimate(text) for text in texts]
    total = sum(parts)
    scale = estimate("".join(texts)) / total if total else 0.0
    return [part * scale for part in parts]
