"""What a load test asks of the mock beside its service: accounts, quotas, what requests meet, what was seen.

Over the control API, as anybody could: a mock in another process, or on another machine with its token in
QFKIT_ADMIN_TOKEN. Knows no Locust.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from loadtests.planning.spelling import PlanError
from qfkit.control import ControlAPI
from qfkit.control import ControlFailed as Refused

_T = TypeVar("_T")

#: Seconds that the mock may take to answer; a verdict on ten thousand requests takes a few.
_PATIENCE = 120.0

_ADVICE = "start one with 'qfkit mock' and give its --host (off loopback its token, too, in QFKIT_ADMIN_TOKEN)"

#: Entries of the journal that are asked for at once.
PAGE = 2_000


class ControlFailed(PlanError):
    """The mock did not do what it was asked to; the message says why, and what to do."""


class Control:
    """The control API of a mock.

    Args:
        url: base URL of the mock.
        token: its admin token; it needs one off loopback.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._api = ControlAPI(url, token, advice=_ADVICE, patience=_PATIENCE)

    @classmethod
    def from_env(cls, url: str, environ: Mapping[str, str] = os.environ) -> Control:
        """With the token that QFKIT_ADMIN_TOKEN holds, if any."""
        return cls(url, environ.get("QFKIT_ADMIN_TOKEN"))

    def close(self) -> None:
        """Give the connection back."""
        self._api.close()

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> bytes:
        """As `ControlAPI.send`.

        Raises:
            ControlFailed: nobody answers there, or no mock of qfkit does, or it refuses; in its own words.
        """
        try:
            return self._api.send(method, path, body, **query)
        except Refused as error:
            raise ControlFailed(str(error)) from error

    def ask(self, type_: type[_T], method: str, path: str, body: Mapping[str, Any] | None = None, **query: Any) -> _T:
        """As `send`; the answer as a value of ``type_``.

        Raises:
            ControlFailed: as `send`; or the answer is something else.
        """
        data = self.send(method, path, body, **query)
        try:
            return msgspec.json.decode(data, type=type_)
        except msgspec.DecodeError as error:
            raise ControlFailed(
                f"{self.url} answers {method} {path} with something else ({error}): is it a mock?"
            ) from error

    def new_account(self, name: str) -> Account:
        """Make an account with keys of its own: nobody else's requests are in its journal and its quotas."""
        return Account(self, self.ask(Issued, "POST", "accounts", {"name": name}))

    def last(self, limit: int) -> list[Seen]:
        """The last requests of all accounts, at most so many, oldest first."""
        return self.ask(_Page, "GET", "journal", limit=limit).entries

    def now(self) -> float:
        """The mock's time, Unix seconds."""
        return self.ask(_Now, "GET", "clock").time


class _Now(msgspec.Struct):
    time: float


class Issued(msgspec.Struct):
    """A new account.

    Attributes:
        name: in the control API.
        env: variables that hold its keys, under the names that clients read.
    """

    name: str
    env: dict[str, str]


class Seen(msgspec.Struct, kw_only=True):
    """One request as the mock's journal has it, as far as load tests look.

    Attributes:
        number: in the journal, from 1.
        time: when it arrived, Unix seconds on the mock's clock.
        dialect, operation: what was asked for; token fetches are ``oauth`` and ``iam``.
        status: HTTP status, 0 when there was none.
        error_code: of the service, None when it was answered well.
        outcome: ``pending``, ``complete``, ``cut``, ``reset`` or ``hung up``.
        answered_by: the step, ``default``, or the check that refused, such as ``quota``.
        duration: seconds until its last bytes had left, None while it is under way.
        body: as JSON, where it was.
        response: what was answered.
        written: when each write left, seconds after the request; of streams.
    """

    number: int
    time: float
    dialect: str
    operation: str
    status: int
    error_code: int | str | None = None
    outcome: str = "complete"
    answered_by: str | None = None
    duration: float | None = None
    body: Any = None
    response: SeenAnswer | None = None
    written: list[float] = []

    @property
    def token_fetch(self) -> bool:
        """It asked for a token, not for an answer."""
        return self.dialect in {"oauth", "iam"}

    @property
    def ok(self) -> bool:
        """It was answered, well and to the end."""
        return self.error_code is None and 200 <= self.status < 300 and self.outcome == "complete"

    @property
    def ended(self) -> float | None:
        """When its last bytes left or its client had gone, Unix seconds; None while it is under way."""
        return None if self.duration is None else self.time + self.duration

    @property
    def retry_after(self) -> float | None:
        """Seconds that its answer asks to wait, None where it says nothing."""
        answered = {name.lower(): value for name, value in self.response.headers} if self.response else {}
        for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
            if answered.get(name, "").isdecimal():
                return float(answered[name]) / unit
        return None

    @property
    def question(self) -> str:
        """What the user asked last, empty when there is no such thing."""
        body = self.body if isinstance(self.body, dict) else {}
        messages = body.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        content = last.get("content") if isinstance(last, dict) else None
        return content if isinstance(content, str) else ""


class SeenAnswer(msgspec.Struct):
    """The head of what was answered."""

    headers: list[tuple[str, str]] = []


class _Page(msgspec.Struct):
    entries: list[Seen]
    count: int


class Account:
    """An account on a mock, from outside.

    Attributes:
        name: in the control API.
        env: variables that hold its keys.
        count: requests that its journal had recorded when it was last looked at, remembered or not.
    """

    def __init__(self, control: Control, issued: Issued) -> None:
        self._control = control
        self._path = f"accounts/{quote(issued.name, safe='')}"
        self._read = 0
        self.name, self.env = issued.name, issued.env
        self.count = 0

    def quota(self, **limits: float | None) -> None:
        """Limit what it may ask (``qps``, ``rpm``, ``tpm``, ``daily``, ``total``, ``concurrency``)."""
        given = {name: value for name, value in limits.items() if value is not None}
        self._control.send("PUT" if given else "DELETE", f"{self._path}/quota", given or None)

    def rule(self, on: Mapping[str, Any], *script: Mapping[str, Any], priority: int = 0) -> None:
        """Add a rule, as the configuration file has it."""
        self._control.send(
            "POST", f"{self._path}/scenario/rules", {"on": dict(on), "priority": priority, "script": list(script)}
        )

    def enter(self, state: str) -> None:
        """Enter a state, for rules that ask for it."""
        self._control.send("PUT", f"{self._path}/scenario/state", {"state": state})

    def read(self) -> Iterator[Seen]:
        """What came since the last time, in the order of arrival; requests under way end what is read."""
        while True:
            page = self._control.ask(_Page, "GET", f"{self._path}/journal", after=self._read, limit=PAGE)
            self.count = page.count
            for seen in page.entries:
                if seen.outcome == "pending":
                    return
                self._read = seen.number
                yield seen
            if len(page.entries) < PAGE:
                return

    def under_way(self) -> list[Seen]:
        """Requests that have no end yet, behind what `read` has given."""
        page = self._control.ask(_Page, "GET", f"{self._path}/journal", after=self._read, limit=10_000)
        self.count = page.count
        return page.entries

    def verdict(self, schedule: str | None = None, limits: str | None = None) -> dict[str, Any]:
        """What is to be said of its client; see ``docs/verdicts.md``.

        Args:
            schedule: the one that its waits are to follow, such as ``openai``.
            limits: where the line is drawn, such as ``tolerance=0.3``.
        """
        return self._control.ask(dict[str, Any], "GET", f"{self._path}/verdict", schedule=schedule, limits=limits)

    def delete(self) -> None:
        """Forget it, its keys and its journal."""
        self._control.send("DELETE", self._path)
