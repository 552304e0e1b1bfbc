"""What a test holds in its hand: one account, its script and what it saw."""

from __future__ import annotations

from mock_server.journal import Entries
from mock_server.quota import Limits, Window
from mock_server.scenario import Action
from mock_server.scripting import Scripting
from mock_server.state import Account, State
from qfkit.protocol.credentials import Credentials


class AccountHandle(Scripting):
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

    def _queue(self, action: Action, times: int) -> None:
        self._account.script.add(action, times)

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
