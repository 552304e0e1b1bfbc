"""Tests against the real service, within a budget: what the fixtures are under ``--qianfan-live``.

The real hosts' names lead to a `Gate` of this process, so every request of every client in it is counted before it is
sent on, and none is when the budget is spent. What a test wants of the mock itself (its script, its journal) is not to
be had of the real service: such tests are skipped, and say so.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from mock_server.tls import Authority
from qfkit.protocol.dialects import BASE_URLS, INFERENCE_DIALECTS, route
from qfkit.protocol.errors import envelope, translate
from qfkit.protocol.messages import Usage
from qfkit.protocol.tokens import estimate
from qfkit.testing.detour import HOSTS, Detour, trusting
from qfkit.testing.gate import Answer, Exchange, Gate
from qfkit.testing.network import NETWORK

if TYPE_CHECKING:
    from qfkit.protocol.credentials import Credentials
    from qfkit.protocol.http import HttpRequest

_TAKEN = "the real hosts lead elsewhere already: under --qianfan-live, leave intercept(...) to the fixtures"

#: What the official SDK must not do in a test, whatever the developer's machine says (wire reference 1.1).
_QUIET = {"QIANFAN_DOT_ENV_CONFIG_FILE": "/nonexistent/qfkit.env", "QIANFAN_DISABLE_CACHE": "true"}


#: Members that hold what is said.
_SAID = frozenset({"content", "reasoning_content", "result", "text", "system", "prompt", "input", "query", "documents"})


@dataclass
class Spent:
    """What was sent.

    Attributes:
        requests: those that were sent on, token and discovery calls too.
        tokens: of questions and answers, as the service counted them.
        estimated: how many of these the service did not tell, so that they were estimated.
        refused: requests that were not sent on, for want of budget.
        calls: method, host and path -> how often.
    """

    requests: int = 0
    tokens: int = 0
    estimated: int = 0
    refused: int = 0
    calls: Counter[str] = field(default_factory=Counter)

    def to_data(self) -> dict[str, Any]:
        """As one pytest worker tells it to another."""
        return {**vars(self), "calls": dict(self.calls)}

    def add(self, data: Mapping[str, Any]) -> None:
        """Count what another has spent."""
        for name in ("requests", "tokens", "estimated", "refused"):
            setattr(self, name, getattr(self, name) + data[name])
        self.calls.update(data["calls"])


class Budget:
    """How much may be sent. A `qfkit.testing.gate.Passage`, exact for requests however many threads ask.

    A request is let through while tokens are left, so the last ones may end beyond: what an answer costs is known when
    it is there.

    Args:
        requests: at most.
        tokens: after so many nothing more is sent.
        shared: it is a part of the run's, the rest of which other workers have.

    Attributes:
        spent: what was sent so far.
        log: one line a request.
    """

    def __init__(self, requests: int, tokens: int, *, shared: bool = False) -> None:
        self.requests, self.tokens = requests, tokens
        self._shared = shared
        self.spent = Spent()
        self.log: list[str] = []
        self._lock = threading.Lock()

    @property
    def empty(self) -> str | None:
        """What is used up, in words; None while something is left."""
        if self.spent.requests >= self.requests:
            return f"{self.spent.requests} of {self.requests} requests are sent"
        if self.spent.tokens >= self.tokens:
            return f"{self.spent.tokens} of {self.tokens} tokens are used"
        return None

    def told(self, empty: str) -> str:
        """That it is spent, and what lets more through."""
        option = "requests" if self.spent.requests >= self.requests else "tokens"
        part = " (under -n, each worker has its part of the budget)" if self._shared else ""
        return f"the live budget is spent: {empty}{part}; let more through with --qianfan-live-max-{option}"

    def enter(self, host: str, request: HttpRequest) -> Answer | None:
        """Count it; refuse it when the budget is spent."""
        with self._lock:
            if (empty := self.empty) is None:
                self.spent.requests += 1
                self.spent.calls[f"{request.method} {host}{request.path}"] += 1
                return None
            self.spent.refused += 1
            self.log.append(f"{request.method} {host}{request.path} not sent: the budget is spent")
        return _refusal(request.path, f"qfkit: this was not sent, {self.told(empty)}")

    def passed(self, exchange: Exchange) -> None:
        """Count its tokens."""
        tokens, told = _tokens(exchange)
        with self._lock:
            self.spent.tokens += tokens
            self.spent.estimated += 0 if told else tokens
            words = f"{exchange.request.method} {exchange.host}{exchange.request.path}"
            outcome = exchange.error or f"{exchange.status}, {tokens} tokens{'' if told else ' (estimated)'}"
            self.log.append(f"{words} -> {outcome}, {exchange.seconds:.2f} s")


def _refusal(path: str, message: str) -> Answer:
    """An error in the form of the dialect, of a kind that no client repeats."""
    found = route(path)
    dialect = found.dialect if found is not None and found.dialect in {*INFERENCE_DIALECTS, "oauth", "iam"} else "v2"
    spec = translate(400, dialect)
    body = json.dumps(envelope(spec, message=message), ensure_ascii=False).encode()
    return Answer(400, (("Content-Type", "application/json; charset=utf-8"),), body)


def _tokens(exchange: Exchange) -> tuple[int, bool]:
    """What it cost, and whether the service said so; of what costs nothing, nothing."""
    found = route(exchange.request.path)
    free = found is None or found.dialect not in INFERENCE_DIALECTS or found.operation in {"models", "tokenizer"}
    if exchange.status != 200 or (free and b'"usage"' not in exchange.body):
        return 0, True
    told = [usage.total_tokens for data in _objects(exchange.body) if (usage := Usage.read(data.get("usage")))]
    if told:
        return max(told), True  # v1 adds up as it goes, v2 tells it once, at the end
    if any("error_code" in data or "error" in data for data in _objects(exchange.body)):
        return 0, True
    texts = ["".join(_said(list(_objects(body)))) for body in (exchange.request.body, exchange.body)]
    return sum(map(estimate, texts)), False


def _said(data: object, key: str = "") -> Iterator[str]:
    """Every text of a question or an answer, wherever a dialect keeps it."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _said(value, name)
    elif isinstance(data, list):
        for value in data:
            yield from _said(value, key)
    elif isinstance(data, str) and key in _SAID:
        yield data


def _objects(body: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of a body: the whole, or one a line, of events or plain."""
    whole = _decoded(body)
    for data in map(_decoded, body.splitlines()) if whole is None else [whole]:
        if isinstance(data, dict):
            yield data


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text.removeprefix(b"data:"))
    except ValueError:
        return None


class Absent:
    """What stands for a thing of the mock's while tests run live: who asks for more than is there is skipped.

    Args:
        fixture: its name.
        why: what the real service lacks.
        there: what is there all the same.
    """

    def __init__(self, fixture: str, why: str, **there: Any) -> None:
        vars(self).update(there, _fixture=fixture, _why=why, _asked=None)

    def __repr__(self) -> str:
        return f"<{self._fixture} under --qianfan-live>"

    def __getattr__(self, name: str) -> Any:
        __tracebackhide__ = True  # the line that asked is the one to show
        if name.startswith("_"):
            raise AttributeError(name)
        return self._skip(name)

    def __setattr__(self, name: str, value: object) -> None:
        __tracebackhide__ = True
        self._skip(name)

    def _skip(self, name: str) -> NoReturn:
        __tracebackhide__ = True
        reason = f"--qianfan-live: {self._fixture}.{name} is the mock's; {self._why}"
        vars(self)["_asked"] = reason  # where the exception ends in a thread of the code under test
        pytest.skip(reason)


_WHY_MOCK = "the real service plays no script, keeps no journal for you and has no single URL"


class LiveAccount(Absent):
    """What ``qianfan_mock`` is: `credentials`, `env` and `name`.

    Args:
        live: whose keys and hosts it has.
    """

    name: str
    credentials: Credentials

    def __init__(self, live: Live) -> None:
        super().__init__("qianfan_mock", _WHY_MOCK, name="live", credentials=live.credentials, _env=live.environment())

    def env(self) -> dict[str, str]:
        """Environment variables that send the known clients to the real service, with the developer's keys."""
        return dict(self._env)

    @property
    def wanted(self) -> str | None:
        """Why the test should be skipped; None while nothing was wanted that is not there."""
        asked: str | None = self._asked
        return asked


class LiveInterception(Absent):
    """What ``qianfan_intercept`` is: nothing to do, for the real hosts are what the code wants.

    Args:
        account: of the test.
    """

    def __init__(self, account: LiveAccount) -> None:
        super().__init__("qianfan_intercept", _WHY_MOCK, account=account, hosts=HOSTS)

    def use(self, **keys: str) -> LiveInterception:  # noqa: ARG002 - the real service knows them or does not
        """Keys that are written into the code are the real service's business."""
        return self


class Live:
    """The session's way to the real service; opened when the first test needs it.

    Args:
        credentials: the developer's.
        budget: of this process.
        gateway: where requests go instead of the real hosts; empty for those.
    """

    def __init__(self, credentials: Credentials, budget: Budget, gateway: str = "") -> None:
        self.credentials = credentials
        self.budget = budget
        self._gate = Gate({host: gateway or f"https://{host}" for host in HOSTS}, budget)
        self._pem = ""
        self._stack = ExitStack()

    def environment(self) -> dict[str, str]:
        """As `AccountHandle.env`, for the real hosts."""
        found = {
            "QIANFAN_BASE_URL": BASE_URLS["v1"],
            "QIANFAN_CONSOLE_API_BASE_URL": BASE_URLS["v2"],
            "QIANFAN_IAM_BASE_URL": BASE_URLS["iam"],
            **_QUIET,
            **self.credentials.environment(),
            "OPENAI_BASE_URL": f"{BASE_URLS['v2']}/v2",
        }
        if self.credentials.bearer_token:
            found["OPENAI_API_KEY"] = self.credentials.bearer_token
        return found

    @contextmanager
    def route(self) -> Iterator[LiveAccount]:
        """Let the real hosts' names lead to the gate until the block ends.

        Raises:
            TlsError: trustme is missing.
        """
        if not self._gate.doors:
            authority = Authority()
            self._pem = authority.pem.decode("ascii")
            self._stack.enter_context(self._gate.open(authority.context()))
        detour = Detour(HOSTS, self._gate.doors, "--qianfan-live")
        with NETWORK.place("router", detour, _TAKEN), trusting(HOSTS, self._pem):
            yield LiveAccount(self)

    def close(self) -> None:
        """Close the gate."""
        self._stack.close()
