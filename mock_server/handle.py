"""What a test holds in its hand: one account, its script and what it saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mock_server.journal import Entries
from mock_server.scenario import Answer, Failure, Pace, RetryAfter, pieces_of
from mock_server.settings import FailStep, ReplyStep, StreamStep, step_of
from mock_server.state import Account, State
from qfkit.protocol.credentials import Credentials


class AccountHandle:
    """One account of a mock. Steps are queued in the order they are written; each call returns the handle.

    When no step is waiting, requests get a made-up answer.
    """

    def __init__(self, account: Account, state: State, url: str) -> None:
        self._account = account
        self._state = state
        self._url = url

    def __repr__(self) -> str:
        return f"<account {self.name!r} of {self._url}: {len(self.requests)} requests>"

    @property
    def name(self) -> str:
        """The account's name in the journal."""
        return self._account.name

    @property
    def credentials(self) -> Credentials:
        """Its keys, for all four auth schemes."""
        return self._account.credentials

    @property
    def url(self) -> str:
        """The server's base URL."""
        return self._url

    def env(self) -> dict[str, str]:
        """Environment variables that send the official SDK and openai-python here (wire reference 7)."""
        return client_environment(self._url, self.credentials)

    # The script

    @property
    def then(self) -> AccountHandle:
        """The handle itself, so that a script reads as a sentence: ``fail(18).then.reply("ok")``."""
        return self

    def reply(
        self,
        text: str | None = None,
        *,
        times: int = 1,
        reasoning: str = "",
        tool_calls: Sequence[Mapping[str, Any]] = (),
        finish_reason: str | None = None,
    ) -> AccountHandle:
        """Queue an answer.

        Args:
            text: what the model says. None with ``tool_calls`` says nothing beside the calls; None alone makes it up.
            times: how many requests get it, from 1.
            reasoning: v2 ``reasoning_content``.
            tool_calls: each ``{"name": "get_weather", "arguments": {...}}``; v1 has room for the first one.
            finish_reason: instead of the service's own for such an answer.

        Raises:
            ValueError: ``times`` is under 1, or a tool call has no name.
        """
        calls = tuple(dict(call) for call in tool_calls)
        if any(not isinstance(call.get("name"), str) for call in calls):
            raise ValueError(f"a tool call is {{'name': ..., 'arguments': ...}}; got {list(calls)!r}")
        answer = Answer(text=text, reasoning=reasoning, tool_calls=calls, finish_reason=finish_reason)
        self._account.script.add(answer, times)
        return self

    def fail(
        self,
        code: int | str,
        *,
        times: int = 1,
        retry_after: RetryAfter | None = None,
        message: str | None = None,
    ) -> AccountHandle:
        """Queue an error, in the form of the dialect that meets it.

        Args:
            code: a Qianfan code (``18``), a v2 code (``"rpm_rate_limit_exceeded"``) or an HTTP status (400 to 599).
            times: how many requests meet it, from 1.
            retry_after: ``Retry-After``: seconds (0 to 86400), a moment with a time zone, or the header's very text.
            message: instead of the service's own words.

        Raises:
            ValueError: the code is not known (the message names the nearest), or a number is out of range.
        """
        self._account.script.add(Failure(code=code, message=message, retry_after=retry_after), times)
        return self

    def stream(
        self,
        pieces: Sequence[str],
        *,
        ttft: float = 0.0,
        interval: float = 0.0,
        cut_after: int | None = None,
        times: int = 1,
    ) -> AccountHandle:
        """Queue an answer whose stream is cut up and timed as given. A request that asks for no stream gets it whole.

        Args:
            pieces: the text of each event, in order.
            ttft: seconds to the first content, from 0 to 3600.
            interval: seconds between events, from 0 to 3600.
            cut_after: break the connection after exactly this many events, from 0.
            times: how many requests get it, from 1.

        Raises:
            TypeError: ``pieces`` is not a list of strings.
            ValueError: a number is out of range.
        """
        if cut_after is not None and (type(cut_after) is not int or cut_after < 0):
            raise ValueError(f"cut_after is a number of events, from 0; got {cut_after!r}")
        answer = Answer(pieces=pieces_of(pieces), pace=Pace(ttft, interval), cut_after=cut_after)
        self._account.script.add(answer, times)
        return self

    @property
    def waiting(self) -> list[str]:
        """Steps that no request has met yet, in words."""
        return self._account.script.waiting()

    # What happened

    @property
    def requests(self) -> Entries:
        """Every request that was counted for this account, oldest first."""
        return self._account.journal.entries()

    def expire_tokens(self) -> int:
        """End the life of every OAuth and bearer token issued to this account; how many there were.

        v1 then answers 111 and v2 ``invalid_iam_token`` until the client fetches a new one.
        """
        return self._state.expire_tokens(self._account)

    def reset(self) -> AccountHandle:
        """Forget the script and what was recorded; keys and tokens stay."""
        self._account.script.clear()
        self._account.journal.clear()
        return self

    def play(self, steps: Sequence[Mapping[str, Any]]) -> AccountHandle:
        """Queue steps written as data, as the configuration file has them: ``[{"fail": 18, "times": 2}]``.

        Raises:
            ValueError: a step is none; the message says which and why.
        """
        for index, data in enumerate(steps):
            step = step_of(dict(data), f"$[{index}]")
            match step:
                case ReplyStep():
                    self.reply(step.reply, times=step.times)
                case FailStep():
                    self.fail(step.fail, times=step.times, retry_after=step.retry_after, message=step.message)
                case StreamStep():
                    self.stream(
                        step.stream,
                        ttft=step.ttft,
                        interval=step.interval,
                        cut_after=step.cut_after,
                        times=step.times,
                    )
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


def add_configured_accounts(state: State, url: str) -> None:
    """The accounts that the settings name, with their scripts.

    Raises:
        DuplicateCredentials: two of them share a key.
    """
    for config in state.settings.accounts:
        keys = {field: getattr(config, field) for field in ("access_key", "secret_key", "ak", "sk", "bearer_token")}
        account = state.add_account(Credentials(**keys), config.name)
        AccountHandle(account, state, url).play(config.script)
