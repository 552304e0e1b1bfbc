"""What a run against the real service may spend, what it would, and the pace that it keeps. Pure.

Prices change, and the service shows them on pages for people. The table says where and when each was read; an old price
is a high one, since prices fell, so a budget errs to the safe side. ``--price`` takes your own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Annotated, NamedTuple

import msgspec

from loadtests.planning.spelling import PlanError

#: Requests a second that the service documents for an application (text_generation).
DOCUMENTED_QPS = 100.0

#: Tokens that an answer may have when nobody limits it: the default of the ERNIE models' ``max_output_tokens`` is 1024,
#: their most 2048 (ai.baidu.com/ai-doc/WENXINWORKSHOP/Jlugqd6pw, read 2026-11-23).
LONGEST = 2048


class Price(NamedTuple):
    """What tokens of a model cost.

    Attributes:
        models: names that it is for; ``*`` stands for any letters.
        prompt, output: yuan for a million tokens.
        source: where it was read.
        date: when it was valid there.
        guess: not from the service itself, or for a model of the same family.
    """

    models: str
    prompt: float
    output: float
    source: str
    date: str
    guess: bool = True

    def cost(self, prompt_tokens: float, output_tokens: float) -> float:
        """Yuan."""
        return (prompt_tokens * self.prompt + output_tokens * self.output) / 1e6


_OFFICIAL = "cloud.baidu.com/doc/WENXINWORKSHOP/s/hlqnms5rn"
_COLLECTED = "github.com/flanker/llmprice.cn"

#: The first row that fits counts. The last one, for models of which nothing is known, is the dearest of all.
PRICES: tuple[Price, ...] = (
    Price("ernie-4.0*", 120.0, 120.0, _OFFICIAL, "2024-01-19", guess=False),
    Price("ernie-3.5*", 12.0, 12.0, _OFFICIAL, "2024-01-19", guess=False),
    Price("ernie-bot-8k", 24.0, 48.0, _OFFICIAL, "2024-01-19", guess=False),
    Price("ernie-speed*", 0.0, 0.0, _COLLECTED, "2024-06"),
    Price("ernie-lite*", 0.0, 0.0, _COLLECTED, "2024-06"),
    Price("ernie-5.0*", 10.0, 40.0, "git.hxr.so/desirecore/config-center", "2026-04-25"),
    Price("*", 120.0, 120.0, f"nothing is known of this model: that of ernie-4.0, {_OFFICIAL}", "2024-01-19"),
)


def price_of(model: str | None) -> Price:
    """The price of a model; of the dearest one when it is not known."""
    name = (model or "").lower()
    return next(price for price in PRICES if fnmatchcase(name, price.models))


def given_price(text: str) -> Price:
    """A price as it is typed: yuan for a million tokens of prompt and of output, such as ``4,16``.

    Raises:
        PlanError: it is none.
    """
    try:
        prompt, output = (float(part) for part in text.split(","))
    except ValueError:
        prompt = output = math.nan
    if not (0 <= prompt < math.inf and 0 <= output < math.inf):
        raise PlanError(f"--price is yuan for a million tokens of prompt and of output, such as 4,16; got {text!r}")
    return Price("*", prompt, output, "--price", "now", guess=False)


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spent.

    Attributes:
        max_requests: HTTP requests, those for tokens included.
        max_tokens: tokens read and written.
        max_cost: yuan.
        price: yuan for a million tokens of prompt and of output, such as ``4,16``; None for the table's.
        max_qps: requests a second. None: `DOCUMENTED_QPS` against a real service, no limit against a mock.
    """

    max_requests: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_cost: Annotated[float, msgspec.Meta(gt=0)] | None = None
    price: str | None = None
    max_qps: Annotated[float, msgspec.Meta(gt=0)] | None = None

    @property
    def bounded(self) -> bool:
        """There is a limit to what may be spent."""
        return (self.max_requests, self.max_tokens, self.max_cost) != (None, None, None)

    @property
    def kept_by_one(self) -> bool:
        """It can be kept by one process alone."""
        return self.bounded or self.max_qps is not None

    def priced(self, model: str | None) -> Price:
        """The price to reckon with.

        Raises:
            PlanError: ``price`` is none.
        """
        return price_of(model) if self.price is None else given_price(self.price)

    def check(self, *, live: bool, rate: float | None, model: str | None = None) -> None:
        """Whether a run may begin.

        Args:
            live: it goes to the real service.
            model: that it asks.
            rate: calls a second that are planned, None where users wait for answers.

        Raises:
            PlanError: it may not; the message says what to do.
        """
        if live and not self.bounded:
            raise PlanError(
                "--live sends to a service where requests may cost money: say how much at most, with --max-requests N, "
                "--max-tokens N or --max-cost YUAN"
            )
        price = self.priced(model)
        if live and price.guess and not price.cost(1, 1) and (self.max_requests, self.max_tokens) == (None, None):
            raise PlanError(
                f"{model} cost nothing in {price.date} ({price.source}), so --max-cost alone may bound nothing: add "
                "--max-requests N or --max-tokens N, or say what it costs with --price"
            )
        most = self.most_qps(live=live)
        if rate is not None and most is not None and rate > most:
            told = "--max-qps" if self.max_qps is not None else f"the {DOCUMENTED_QPS:g} that the service documents"
            raise PlanError(
                f"--rate {rate:g} is above {most:g} requests a second, {told}: take a lower --rate, or a higher "
                "--max-qps if your application may ask that often"
            )

    def most_qps(self, *, live: bool) -> float | None:
        """Requests a second at most; None for no limit."""
        return self.max_qps if self.max_qps is not None else DOCUMENTED_QPS if live else None

    def words(self, *, host: str, model: str | None, prompt_tokens: float) -> str:
        """What a run would spend at most, to be shown before it starts.

        Args:
            host: where it goes.
            model: that it asks.
            prompt_tokens: of a prompt, on average.
        """
        price = self.priced(model)
        requests = self.max_requests
        worst = prompt_tokens + LONGEST
        if self.max_tokens is not None:
            requests = min(requests or math.inf, self.max_tokens / worst)  # type: ignore[assignment]
        dear = price.cost(prompt_tokens, LONGEST)
        if self.max_cost is not None and dear:
            requests = min(requests or math.inf, self.max_cost / dear)  # type: ignore[assignment]
        limits = [
            f"{limit:,} {unit}"
            for limit, unit in ((self.max_requests, "requests"), (self.max_tokens, "tokens"), (self.max_cost, "yuan"))
            if limit is not None
        ]
        kind = "a guess, " if price.guess else ""
        lines = [f"Live: at most {' and '.join(limits)} go to {host}, at most {self.most_qps(live=True):g} a second."]
        if requests is not None and requests < math.inf:
            count = max(1, int(requests))
            each = f"{price.prompt:g} + {price.output:g} yuan"
            lines.append(
                f"If each answer were as long as it may be ({LONGEST} tokens): about {count:,} requests, "
                f"{count * worst:,.0f} tokens, {count * dear:,.2f} yuan at {each} for a million tokens "
                f"({kind}{price.source}, {price.date}; --price takes yours)."
            )
        return "\n".join(lines)


class BudgetSpent(Exception):
    """The next request could cost more than is left of the budget; it was not sent."""


class Purse:
    """What is left of a budget. For one process.

    Before a request is sent, the most that it can cost is set aside; when its answer has come, what it did cost is
    taken. So the budget holds whatever is under way.

    Args:
        budget: what may be spent.
        price: of the model.
        prompt_tokens: of a prompt, at most.
    """

    def __init__(self, budget: Budget, price: Price, prompt_tokens: float) -> None:
        self._budget = budget
        self._price = price
        self._prompt = prompt_tokens
        self._aside = 0
        self.requests = 0
        self.tokens = 0.0
        self.cost = 0.0

    def reserve(self, *, inference: bool) -> None:
        """Set aside what one request can cost.

        Args:
            inference: it asks for an answer; others cost nothing but a request.

        Raises:
            BudgetSpent: there is not as much; nothing is set aside.
        """
        aside = self._aside + inference
        for name, spent, limit in (
            ("requests", self.requests + 1, self._budget.max_requests),
            ("tokens", self.tokens + aside * (self._prompt + LONGEST), self._budget.max_tokens),
            ("cost", self.cost + aside * self._price.cost(self._prompt, LONGEST), self._budget.max_cost),
        ):
            if limit is not None and spent > limit:
                raise BudgetSpent(f"the budget of {limit:g} {name if name != 'cost' else 'yuan'} is spent")
        self.requests += 1
        self._aside = aside

    def settle(self, requests: int, prompt_tokens: int | None, output_tokens: int | None) -> None:
        """Take what a call did cost, and put the rest back.

        Args:
            requests: inference requests that it took. Each but the last is reckoned as a prompt that was read.
            prompt_tokens: that its answer tells; None where nobody knows: then what was set aside is spent.
            output_tokens: likewise.
        """
        if not requests:
            return
        self._aside -= requests
        read = (requests - 1) * self._prompt + (self._prompt if prompt_tokens is None else prompt_tokens)
        written = float(LONGEST if output_tokens is None else output_tokens)
        self.tokens += read + written
        self.cost += self._price.cost(read, written)


class Pace:
    """At most so many requests in any second.

    Args:
        qps: requests a second.
        now: a monotonic clock, in seconds.
        sleep: waits.
    """

    def __init__(self, qps: float, now: Callable[[], float], sleep: Callable[[float], None]) -> None:
        # Fewer than one a second is one in as many seconds as that takes.
        self._span = max(1.0, 1.0 / qps)
        self._sent: deque[float] = deque(maxlen=max(1, int(qps)))
        self._now, self._sleep = now, sleep

    def wait(self) -> None:
        """Return when the next request may be sent; it counts as sent then."""
        sent = self._sent
        while len(sent) == sent.maxlen and (left := sent[0] + self._span - self._now()) > 0:
            self._sleep(left)
        sent.append(self._now())
