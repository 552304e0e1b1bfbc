"""Accounts and everything they own. Every operation here is atomic: any number of threads may call it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Literal

from mock_server.journal import Journal
from mock_server.quota import Limits, Quotas
from mock_server.scenario import Script
from mock_server.settings import Settings
from qfkit.clock import SYSTEM_CLOCK, Clock
from qfkit.protocol.credentials import Credentials

#: Lifetime of an OAuth access token, seconds (wire reference 2.1).
ACCESS_TOKEN_LIFE = 2_592_000

#: Signed requests that are remembered, to know them again: under 20 MB, and at 1000 a second most of a minute.
REMEMBERED = 50_000

#: Wrong signatures that are explained in one second; those beyond are refused with the plain verdict.
EXPLANATIONS = 20

_LOWER = ascii_lowercase + digits
_PAIRS = [first + second for first in _LOWER for second in _LOWER]
_MIXED = ascii_uppercase + ascii_lowercase + digits
_HEX = digits + "abcdef"


@dataclass(slots=True, eq=False)
class Account:
    """One set of credentials and all that hangs on it: the unit of isolation."""

    name: str
    credentials: Credentials
    journal: Journal
    script: Script
    quotas: Quotas


@dataclass(slots=True, eq=False)
class Token:
    """A token that the mock issued. ``kind`` is ``oauth`` (v1, wire reference 2.1) or ``bearer`` (v2, 2.3)."""

    value: str
    kind: Literal["oauth", "bearer"]
    account: Account
    issued: float
    expires: float


class DuplicateCredentials(ValueError):
    """A key that belongs to another account already."""


class State:
    """All accounts of one mock.

    Looking up a key is one dictionary access, however many accounts there are.
    """

    def __init__(self, settings: Settings | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.settings = settings or Settings()
        self.clock = clock
        #: Requests that belong to nobody: unknown keys, unknown paths.
        self.journal = Journal(self.settings.journal)
        self._lock = threading.RLock()
        self._random = Random(self.settings.seed)
        self._accounts: dict[str, Account] = {}
        self._by_access_key: dict[str, Account] = {}
        self._by_ak: dict[str, Account] = {}
        self._by_api_key: dict[str, Account] = {}
        self._tokens: dict[str, Token] = {}
        self._explained_since, self._explained = self.clock.monotonic(), 0
        self._seen: OrderedDict[str, float] = OrderedDict()

    # Accounts

    def add_account(self, credentials: Credentials | None = None, name: str | None = None) -> Account:
        """A new account; keys that ``credentials`` leaves out are generated.

        Raises:
            DuplicateCredentials: a key is taken; nothing was added.
        """
        with self._lock:
            number = len(self._accounts) + 1
            name = name or f"account-{number}"
            complete = self._complete(credentials or Credentials())
            taken = [
                field
                for field, index in self._indexes()
                if (key := getattr(complete, field)) is not None and key in index
            ]
            if taken or name in self._accounts:
                what = ", ".join(taken) or f"name {name!r}"
                raise DuplicateCredentials(
                    f"{what}: another account of this server has it already; every account needs keys of its own"
                )
            built_in = None if self.settings.quota == "documented" else Limits()
            quotas = Quotas(self.clock, default=built_in)
            account = Account(name, complete, Journal(self.settings.journal), Script(), quotas)
            self._accounts[name] = account
            for field, index in self._indexes():
                if (key := getattr(complete, field)) is not None:
                    index[key] = account
            return account

    def accounts(self) -> tuple[Account, ...]:
        """Every account, in the order they were added."""
        with self._lock:
            return tuple(self._accounts.values())

    @property
    def default_account(self) -> Account:
        """The account that was added first; made on the spot when there is none."""
        with self._lock:
            if not self._accounts:
                return self.add_account()
            return next(iter(self._accounts.values()))

    def by_access_key(self, key: str) -> Account | None:
        """Whose IAM access key this is."""
        return self._by_access_key.get(key)

    def by_ak(self, key: str) -> Account | None:
        """Whose application API Key this is."""
        return self._by_ak.get(key)

    def by_api_key(self, key: str) -> Account | None:
        """Whose long-lived v2 API key this is."""
        return self._by_api_key.get(key)

    def _indexes(self) -> Iterator[tuple[str, dict[str, Account]]]:
        yield "access_key", self._by_access_key
        yield "ak", self._by_ak
        yield "bearer_token", self._by_api_key

    def _complete(self, given: Credentials) -> Credentials:
        made = Credentials(
            access_key=f"ALTAK{self._text(_MIXED, 21)}",
            secret_key=self._text(_HEX, 32),
            ak=self._text(_MIXED, 24),
            sk=self._text(_MIXED, 32),
            bearer_token=f"bce-v3/ALTAK-{self._text(_MIXED, 21)}/{self._text(_HEX, 40)}",
        )
        # A ready access token is nothing an account starts with: the mock issues them.
        fields = [field for field in made.__slots__ if field != "access_token"]
        return replace(made, **{field: value for field in fields if (value := getattr(given, field)) is not None})

    # Tokens

    def issue_access_token(self, account: Account) -> Token:
        """A new OAuth access token, in the layout of the service's samples (2.1)."""
        now = self.clock.time()
        with self._lock:
            app = f"{self._text(digits, 6)}-{self._text(digits, 7)}"
            value = f"24.{self._text(_HEX, 32)}.{ACCESS_TOKEN_LIFE}.{int(now) + ACCESS_TOKEN_LIFE}.{app}"
            token = Token(value, "oauth", account, now, now + ACCESS_TOKEN_LIFE)
            self._tokens[value] = token
            return token

    def issue_bearer_token(self, account: Account, life: float) -> Token:
        """A new IAM bearer token that lives ``life`` seconds (2.3)."""
        now = self.clock.time()
        with self._lock:
            value = f"bce-v3/ALTAK-{self._text(_MIXED, 21)}/{self._text(_HEX, 40)}"
            token = Token(value, "bearer", account, now, now + life)
            self._tokens[value] = token
            return token

    def token(self, value: str) -> Token | None:
        """The token as issued, also when it has expired."""
        return self._tokens.get(value)

    def expire_tokens(self, account: Account) -> int:
        """End the life of every token of ``account`` now; how many there were."""
        now = self.clock.time()
        with self._lock:
            alive = [t for t in self._tokens.values() if t.account is account and t.expires > now]
            for token in alive:
                token.expires = now
            return len(alive)

    # Replay

    def seen_before(self, nonce: str, signature: str, now: float) -> float | None:
        """When this very signed request was first seen, or None if it is new; it is then remembered.

        A time stamp may be ``skew`` seconds ahead of us and is good until it is as much behind, so a request is
        remembered for twice the skew, until it is refused for its age; at most the latest `REMEMBERED` are.
        """
        # The signature stands for whoever made it and for the time it covers; in form A it does not cover the nonce.
        key = f"{signature} {nonce}"
        with self._lock:
            oldest = now - 2 * self.settings.skew
            while self._seen and (len(self._seen) >= REMEMBERED or next(iter(self._seen.values())) < oldest):
                self._seen.popitem(last=False)
            if (first := self._seen.get(key)) is not None:
                return first
            self._seen[key] = now
            return None

    # Explanations

    def may_explain(self) -> bool:
        """Whether a wrong signature may be looked into now.

        That takes some milliseconds, during which nobody else is served: enough for whoever debugs, too much for a load
        test that runs with the wrong key. So at most `EXPLANATIONS` are given in any second.
        """
        now = self.clock.monotonic()
        with self._lock:
            if now - self._explained_since >= 1.0:
                self._explained_since, self._explained = now, 0
            self._explained += 1
            return self._explained <= EXPLANATIONS

    # Identifiers

    def request_id(self) -> str:
        """An id as the service makes them: ``as-`` and ten of ``[a-z0-9]`` (3.3)."""
        with self._lock:
            bits = self._random.getrandbits(60)
        # Two characters at a time, from the table: an id is made for every request.
        return "as-" + "".join([_PAIRS[(bits >> shift) % 1296] for shift in (0, 12, 24, 36, 48)])

    def uuid(self) -> str:
        """A random UUID for ``x-bce-request-id``."""
        with self._lock:
            bits = self._random.getrandbits(128)
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[bits & 3]}{text[17:20]}-{text[20:]}"

    def hex(self, length: int) -> str:
        """That many random hex digits."""
        with self._lock:
            return self._text(_HEX, length)

    def _text(self, alphabet: str, length: int) -> str:
        return "".join(self._random.choices(alphabet, k=length))
