"""What a test holds in its hand: one account, its script and what it saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from mock_server.journal import Entries
from mock_server.quota import Limits, Window
from mock_server.scenario import Failure, RetryAfter, answer, stream
from mock_server.settings import step_of
from mock_server.state import Account, State
from qfkit.protocol.credentials import Credentials

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mock_server.faults.keywords import DeliveryOptions


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
        **delivery: Unpack[DeliveryOptions],
    ) -> AccountHandle:
        """Queue an answer.

        Args:
            text: what the model says. None with ``tool_calls`` says nothing beside the calls; None alone makes it up.
            times: how many requests get it, from 1.
            reasoning: v2 ``reasoning_content``.
            tool_calls: each ``{"name": "get_weather", "arguments": {...}}``; v1 has room for the first one.
            finish_reason: instead of the service's own for such an answer.
            delivery: what happens to it when the request asks for a stream, as in `stream`.

        Raises:
            ValueError: ``times`` is under 1, a tool call has no name, or an option is out of its range.
            TypeError: there is no such option.
        """
        step = answer(
            text,
            reasoning=reasoning,
            tool_calls=tool_calls,
            finish_reason=finish_reason,
            delivery=cast("dict[str, Any]", delivery),
        )
        self._account.script.add(step, times)
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
        self, pieces: Sequence[str] | str, *, times: int = 1, **delivery: Unpack[DeliveryOptions]
    ) -> AccountHandle:
        """Queue an answer whose stream is cut up, timed, damaged and ended as given.

        A request that asks for no stream gets the text whole. The most used options; ``docs/faults.md`` has them all:

        * ``ttft``, ``interval``: seconds to the first content and between events; or ``tokens_per_second``; with
          ``jitter="uniform"``, ``"normal"`` or ``"lognormal"``;
        * ``cut_after=n``: exactly n events arrive; ``cut="incomplete"``, ``"clean"`` or ``"reset"`` says how it ends;
        * ``stall_after=n, stall=seconds``: n events, then silence; for ever when ``stall`` is left out;
        * ``error_after=n, error=code``: n events, then an error event.

        Args:
            pieces: the text of each event, in order; or one text, and ``chunk="character"``, ``"token"``, ``"word"``
                or a number of characters to cut it by.
            times: how many requests get it, from 1.
            delivery: the options.

        Raises:
            TypeError: ``pieces`` is not what it should be, or there is no such option.
            ValueError: an option is out of its range, contradicts another one, or waits for an event that this stream
                will not have.
        """
        self._account.script.add(stream(pieces, cast("dict[str, Any]", delivery)), times)
        return self

    def fault(self, kind: str, *, times: int = 1, **options: Any) -> AccountHandle:
        """Queue a fault of a whole answer: ``fault("reset")``, ``fault("slow-headers", interval=0.01)``.

        Args:
            kind: ``close``, ``reset``, ``hang``, ``slow-headers``, ``slow-body``, ``wrong-length``, ``bad-gzip``,
                ``garbage``, ``bad-status-line``, ``malformed-chunk``, ``html``, ``proxy-error`` or ``large-body``;
                WireMock's and toxiproxy's names for these do as well.
            times: how many requests meet it, from 1.
            options: those of the kind, listed in ``docs/faults.md``.

        Raises:
            TypeError: there is no such fault, or it has no such option.
            ValueError: a value is out of its range.
        """
        from mock_server.faults.whole import fault_of  # noqa: PLC0415 - most who start a mock break nothing

        self._account.script.add(fault_of(kind, options), times)
        return self

    @property
    def waiting(self) -> list[str]:
        """Steps that no request has met yet, in words."""
        return self._account.script.waiting()

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
        """Forget the script, what was recorded and what quotas have counted; keys, tokens and limits stay."""
        self._account.script.clear()
        self._account.journal.clear()
        self._account.quotas.reset()
        return self

    def play(self, steps: Sequence[Mapping[str, Any]]) -> AccountHandle:
        """Queue steps written as data, as the configuration file has them: ``[{"fail": 18, "times": 2}]``.

        Raises:
            ValueError: a step is none; the message says which and why.
        """
        for index, data in enumerate(steps):
            self._account.script.add(*step_of(dict(data), f"$[{index}]"))
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
        if config.quota is not None:
            account.quotas.set(config.quota)
        AccountHandle(account, state, url).play(config.script)
