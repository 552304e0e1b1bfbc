"""What a test holds in its hand: one account, its script and what it saw."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from mock_server.journal import Entries
from mock_server.keys import Keys
from mock_server.matching import Matcher
from mock_server.observing import Graded
from mock_server.quota import Limits, Window
from mock_server.scenario import REFUSED, Action, Rule, Script, Times, Waiting, rule_of
from mock_server.scripting import Scripting
from mock_server.state import Account, State
from qfkit.protocol.credentials import Credentials

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from mock_server.chaos import Chaos
    from mock_server.matching.keywords import Matchers


def _written_at() -> tuple[str, int] | None:
    """File and line of whoever is not of this package: the test that queues a step, or a helper of its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
        frame = frame.f_back
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


class _Scripted(Scripting):
    """Whoever has a `Script` of their own."""

    __slots__ = ()

    @property
    @abstractmethod
    def _script(self) -> Script:
        """Where the steps go."""

    def _queue(self, action: Action, times: Times | None, enter: str | None = None) -> None:
        self._script.add(action, times, enter, _written_at())

    def _loop(self, times: Times) -> None:
        self._script.loop(times, _written_at())

    def loop(self, times: Times = "forever") -> Self:
        """Play all steps so far again when they are through.

        Args:
            times: how often they are played in all, from 1, or ``"forever"``.

        Raises:
            ValueError: there is no step yet, or ``times`` is none.
        """
        self._loop(times)
        return self

    def enter(self, state: str) -> Self:
        """Put the account into ``state`` once the last request has met the step before: see ``on(state=...)``.

        Of a step that stays for ever, once any request has.

        Raises:
            ValueError: there is no step before.
        """
        self._script.enter(state)
        return self


class RuleHandle(_Scripted):
    """One rule of an account: what the requests that fit it will meet.

    Steps are queued as on the account; the last one stays for ever, unless ``times`` says how many requests meet it.
    """

    __slots__ = ("_account", "_rule")

    def __init__(self, account: Account, rule: Rule) -> None:
        self._account = account
        self._rule = rule

    def __repr__(self) -> str:
        return f"<{self._rule}: met {self.times_met} times>"

    @property
    def _script(self) -> Script:
        return self._rule.script

    @property
    def name(self) -> str:
        """Its name in the journal, such as ``rule 2``."""
        return self._rule.name

    @property
    def times_met(self) -> int:
        """How many requests it answered."""
        return self._rule.script.met

    @property
    def requests(self) -> Entries:
        """The requests that it answered, oldest first, as far as the journal remembers them."""
        return Entries([entry for entry in self._account.journal.entries() if entry.rule == self.name])

    def remove(self) -> None:
        """Take the rule away."""
        self._account.scenario.remove(self._rule)


class AccountHandle(_Scripted, Keys, Graded):
    """One account of a mock. Steps are queued in the order they are written; each call returns the handle.

    When no step is waiting, requests get a made-up answer.
    """

    def __init__(self, account: Account, state: State, url: str) -> None:
        self._account = account
        self._state = state
        self._url = url

    def __repr__(self) -> str:
        return f"<account {self.name!r} of {self._url}: {len(self.requests)} requests>"

    def is_of(self, account: Account) -> bool:
        """Whether it is the handle of this account, and not of another one that had its name."""
        return self._account is account

    @property
    def name(self) -> str:
        """The account's name in the journal."""
        return self._account.name

    @property
    def url(self) -> str:
        """The server's base URL."""
        return self._url

    def env(self) -> dict[str, str]:
        """Environment variables that send the official SDK and openai-python here (wire reference 7)."""
        environment = client_environment(self._url, self.credentials)
        if (ca_file := self._state.ca_file) is not None:
            from mock_server.tls import trust  # noqa: PLC0415 - few mocks speak TLS

            environment |= trust(ca_file)
        return environment

    @property
    def _script(self) -> Script:
        return self._account.scenario.script

    # Rules

    def on(self, *, priority: int = 0, **matchers: Unpack[Matchers]) -> RuleHandle:
        """A new rule: what the requests that fit all ``matchers`` meet, before the plain script.

        The rule of the highest priority answers, of equal ones the one that was added first; one whose steps are used
        up takes no part. ``docs/rules.md`` explains each matcher:

        * ``dialect``, ``operation``, ``endpoint``, ``model``, ``stream``, ``tools``: what is asked for;
        * ``contains``, ``regex``: texts, of the messages that ``role`` and ``position`` name, else what was asked last;
        * ``json``, ``header``: members of the body, and headers;
        * ``call``, ``attempt``, ``state``: what came before;
        * ``where``: a function that takes the `Question`.

        Raises:
            ValueError: a matcher cannot have such a value.
            TypeError: there is no such matcher; the message names the nearest.
        """
        matcher = Matcher.of(cast("dict[str, Any]", matchers), "on()")
        return RuleHandle(self._account, self._account.scenario.add(Rule(matcher, priority)))

    def add_rule(self, data: Mapping[str, Any]) -> RuleHandle:
        """A new rule written as data: ``{"on": {"contains": "天气"}, "script": [{"reply": "晴"}]}``.

        Raises:
            ValueError: it is none; the message says where and why.
        """
        return RuleHandle(self._account, self._account.scenario.add(rule_of(data)))

    @property
    def rules(self) -> tuple[RuleHandle, ...]:
        """Its rules, in the order in which they are asked."""
        return tuple(RuleHandle(self._account, rule) for rule in self._account.scenario.rules)

    @property
    def state(self) -> str:
        """The named state that ``on(state=...)`` looks at; ``start`` at first. Can be set."""
        return self._account.scenario.state

    @state.setter
    def state(self, state: str) -> None:
        self._account.scenario.state = state

    @property
    def strict(self) -> bool:
        """Whether a request that no rule and no step wants is refused, instead of answered. Can be set."""
        return self._account.scenario.strict

    @strict.setter
    def strict(self, strict: bool) -> None:
        self._account.scenario.strict = strict

    @property
    def waiting(self) -> list[str]:
        """Steps that still wait for requests, in words; what stays for ever is listed until it was met once."""
        return self._account.scenario.waiting()

    @property
    def waiting_steps(self) -> list[Waiting]:
        """As `waiting`, each with the line of the test that queued it."""
        return self._account.scenario.waiting_steps()

    @property
    def unexpected(self) -> Entries:
        """Requests that no rule was for, though there are rules, or that a strict account refused; oldest first.

        As far as the journal remembers them.
        """
        return Entries([entry for entry in self.requests if entry.near_misses or entry.answered_by == REFUSED])

    @property
    def unmet(self) -> list[str]:
        """Steps that no request has met, in words."""
        return self._account.scenario.unmet()

    def quota(
        self,
        *,
        qps: int | None = None,
        rpm: int | None = None,
        tpm: int | None = None,
        daily: int | None = None,
        total: int | None = None,
        concurrency: int | None = None,
        window: Window = "fixed",
        model: str | None = None,
    ) -> AccountHandle:
        """Limit what this account may ask; a request over a limit is refused in the dialect's own way.

        Replaces the limits that were set before; none at all lifts them.

        Args:
            qps: requests a second.
            rpm: requests a minute.
            tpm: tokens a minute, of questions and answers.
            daily: requests a day, of China.
            total: requests in all.
            concurrency: answers under way at the same time.
            window: how a second and a minute are counted: ``fixed`` as documented, ``sliding``, or ``bucket``.
            model: limits this model alone; None every model, each counted by itself.

        Raises:
            ValueError: a limit is no whole number from 0, or the window is none.
        """
        limits = Limits(qps=qps, rpm=rpm, tpm=tpm, daily=daily, total=total, concurrency=concurrency, window=window)
        self._account.quotas.set(limits, model)
        return self

    # What happened

    # Misfortune

    def chaos(self, chaos: Chaos | None = None, /, **options: Any) -> AccountHandle:
        """Let requests fail at random from now on, before any rule or step: ``chaos(seed=7, error_rate=0.1)``.

        The nth request from here on meets the same for the same seed and options. ``chaos(None)`` ends it, and so does
        ``chaos()``.

        Args:
            chaos: what happens, instead of options.
            options: those of `Chaos`, listed in ``docs/chaos.md``: ``seed``, rates by kind (``error_rate``,
                ``reset_rate``, ``hang_rate``, ``cut_rate``, ``slow_rate`` …), ``burst``, ``outages``.

        Raises:
            TypeError: there is no such option, or a `Chaos` was given beside options.
            ValueError: a value is out of its range, or the rates are more than 1 together.
        """
        from mock_server import chaos as kinds  # noqa: PLC0415 - most who start a mock break nothing

        if chaos is not None and options:
            raise TypeError("give a Chaos or its options, not both")
        value = kinds.Chaos.of(options, "chaos()") if options else chaos
        self._account.scenario.chaos = None if value is None else kinds.Storm(value, self._state.clock.time())
        return self

    @property
    def misfortune(self) -> str | None:
        """The chaos that is on, as it would be written in a call; None when there is none."""
        storm = self._account.scenario.chaos
        return None if storm is None else storm.describe()

    @property
    def requests(self) -> Entries:
        """Every request that was counted for this account, oldest first."""
        return self._account.journal.entries()

    def reset(self) -> AccountHandle:
        """Forget rules, script, chaos and state, what was recorded and what quotas have counted.

        Keys, tokens, limits and ``strict`` stay.
        """
        self._account.scenario.clear()
        self._account.journal.clear()
        self._account.quotas.reset()
        return self


def client_environment(url: str, credentials: Credentials) -> dict[str, str]:
    """Environment variables that point the known clients at ``url`` (wire reference 1.1 and 7)."""
    environment = {
        "QIANFAN_BASE_URL": url,
        "QIANFAN_CONSOLE_API_BASE_URL": url,
        "QIANFAN_IAM_BASE_URL": url,
        # The SDK must read neither a developer's own .env nor an answer cached by another run.
        "QIANFAN_DOT_ENV_CONFIG_FILE": "/nonexistent/qfkit.env",
        "QIANFAN_DISABLE_CACHE": "true",
        **credentials.environment(),
        "OPENAI_BASE_URL": f"{url}/v2",
    }
    if credentials.bearer_token:
        environment["OPENAI_API_KEY"] = credentials.bearer_token
    return environment
