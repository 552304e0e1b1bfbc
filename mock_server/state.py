"""Accounts and everything they own. Every operation here is atomic: any number of threads may call it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from difflib import get_close_matches
from math import inf
from random import Random
from string import ascii_lowercase, ascii_uppercase, digits
from typing import TYPE_CHECKING, Literal

from mock_server.journal import Journal, Memory
from mock_server.metrics import Tally
from mock_server.quota import Limits, Quotas
from mock_server.scenario import Scenario
from mock_server.settings import Settings
from qfkit.clock import SYSTEM_CLOCK, Clock
from qfkit.protocol.credentials import Credentials

if TYPE_CHECKING:
    from mock_server.observing import Needles

#: Lifetime of an OAuth access token, seconds (wire reference 2.1).
ACCESS_TOKEN_LIFE = 2_592_000

#: Signed requests that are remembered, to know them again: under 20 MB, and at 1000 a second most of a minute.
REMEMBERED = 50_000

#: Tokens of one account that are remembered, a few MB: of more, those that have ended are forgotten first, then the
#: oldest. One that is forgotten is answered as one that was never issued.
TOKENS_KEPT = 10_000

#: Old sets of keys of one account that are remembered after their end, to tell who still uses them.
OLD_KEYS_KEPT = 100

#: Wrong signatures that are explained in one second; those beyond are refused with the plain verdict.
EXPLANATIONS = 20

#: Name of a key -> name of the secret that goes with it; an API key is a secret itself.
_SECRETS = {"access_key": "secret_key", "ak": "sk"}

_LOWER = ascii_lowercase + digits
_PAIRS = [first + second for first in _LOWER for second in _LOWER]
_MIXED = ascii_uppercase + ascii_lowercase + digits
_HEX = digits + "abcdef"


@dataclass(slots=True, eq=False)
class Account:
    """Whoever has these keys, and all that hangs on them: the unit of isolation.

    Attributes:
        credentials: the newest keys.
        old_keys: those before them, oldest first, also some that have ended.
        tokens: what was issued and is remembered, oldest first.
    """

    name: str
    credentials: Credentials
    journal: Journal
    scenario: Scenario
    quotas: Quotas
    old_keys: tuple[KeySet, ...] = ()
    tokens: dict[str, Token] = field(default_factory=dict, repr=False)
    #: For verdicts: see `mock_server.observing`.
    noticed: set[int] = field(default_factory=set, repr=False)
    waits_seen: bool = field(default=True, repr=False)
    needles: Needles | None = field(default=None, repr=False)


@dataclass(slots=True, eq=False)
class KeySet:
    """Keys that an account got together: its newest, or those that it had before a rotation.

    Attributes:
        until: Unix time at which they end.
        rotated: Unix time at which newer ones took their place; None for the newest.
    """

    account: Account
    credentials: Credentials
    until: float = inf
    rotated: float | None = None

    def why_ended(self, now: float) -> str | None:
        """Why they are not accepted any more, for the person who debugs; None while they are."""
        if now < self.until:
            return None
        moment = datetime.fromtimestamp(self.until if self.rotated is None else self.rotated, timezone.utc)
        return (
            f"this key was rotated out at {moment:%Y-%m-%dT%H:%M:%SZ} and ended {now - self.until:.0f} s ago: "
            "use the new keys of its account"
        )


@dataclass(slots=True, eq=False)
class Token:
    """A token that the mock issued.

    Attributes:
        kind: ``oauth`` (v1, wire reference 2.1) or ``bearer`` (v2, 2.3).
        issued, expires: Unix time.
        revoked: Unix time at which it was taken back, None for never.
    """

    value: str
    kind: Literal["oauth", "bearer"]
    account: Account
    issued: float
    expires: float
    revoked: float | None = None

    def lives(self, now: float) -> bool:
        """Whether it is accepted."""
        return self.revoked is None and now < self.expires


class DuplicateCredentials(ValueError):
    """A key that belongs to another account already."""


class UnknownAccount(LookupError):
    """No account has this name; the text names the nearest."""


class State:
    """All accounts of one mock.

    Looking up a key is one dictionary access, however many accounts there are.
    """

    def __init__(self, settings: Settings | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.settings = settings or Settings()
        self.clock = clock
        #: Requests that belong to nobody: unknown keys, unknown paths.
        self._memory = Memory(self.settings.journal_bytes)
        self.journal = Journal(self.settings.journal, self._memory)
        #: The certificate of the authority that clients are to trust, where the mock speaks TLS.
        self.ca_file: str | None = None
        #: What is counted for /metrics.
        self.tally = Tally()
        self._lock = threading.RLock()
        self._random = Random(self.settings.seed)
        self._accounts: dict[str, Account] = {}
        self._added = 0
        self._by_access_key: dict[str, KeySet] = {}
        self._by_ak: dict[str, KeySet] = {}
        self._by_api_key: dict[str, KeySet] = {}
        self._tokens: dict[str, Token] = {}
        self._explained_since, self._explained = self.clock.monotonic(), 0
        self._seen: OrderedDict[int, float] = OrderedDict()

    # Accounts

    def add_account(self, credentials: Credentials | None = None, name: str | None = None) -> Account:
        """A new account; keys that ``credentials`` leaves out are generated.

        Raises:
            DuplicateCredentials: a key is taken; nothing was added.
        """
        with self._lock:
            name = name or self._free_name()
            complete = self._complete(credentials or Credentials())
            if name in self._accounts:
                raise DuplicateCredentials(f"another account of this server is named {name!r}: choose another name")
            self._check_free(complete)
            built_in = None if self.settings.quota == "documented" else Limits()
            quotas = Quotas(self.clock, default=built_in)
            scenario = Scenario(strict=self.settings.unmatched == "refuse")
            account = Account(name, complete, Journal(self.settings.journal, self._memory), scenario, quotas)
            self._accounts[name] = account
            self._added += 1
            self._index(KeySet(account, complete))
            return account

    def accounts(self) -> tuple[Account, ...]:
        """Every account, in the order they were added."""
        with self._lock:
            return tuple(self._accounts.values())

    def account(self, name: str) -> Account:
        """The account of this name.

        Raises:
            UnknownAccount: there is none.
        """
        with self._lock:
            if (account := self._accounts.get(name)) is not None:
                return account
            near = get_close_matches(name, self._accounts, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {len(self._accounts)} accounts"
            raise UnknownAccount(f"no account is named {name!r}{hint}")

    def remove_account(self, name: str) -> Account:
        """Forget an account with its keys and tokens, and return it; what it recorded can still be read.

        Requests on their way are answered as if it were there. Its name and keys may be given to another.

        Raises:
            UnknownAccount: there is none of this name.
        """
        with self._lock:
            account = self.account(name)
            del self._accounts[name]
            for _, index in self._indexes():
                for key in [key for key, keys in index.items() if keys.account is account]:
                    del index[key]
            for value in account.tokens:
                del self._tokens[value]
            account.tokens = {}
            return account

    @property
    def default_account(self) -> Account:
        """The account that was added first; made on the spot when there is none."""
        with self._lock:
            if not self._accounts:
                return self.add_account()
            return next(iter(self._accounts.values()))

    # Keys

    def by_access_key(self, key: str) -> KeySet | None:
        """The set that this IAM access key belongs to, also when it has ended."""
        return self._by_access_key.get(key)

    def by_ak(self, key: str) -> KeySet | None:
        """The set that this application API Key belongs to, also when it has ended."""
        return self._by_ak.get(key)

    def by_api_key(self, key: str) -> KeySet | None:
        """The set that this long-lived v2 API key belongs to, also when it has ended."""
        return self._by_api_key.get(key)

    def rotate(
        self, account: Account, credentials: Credentials | None = None, keep_old: bool | float = True
    ) -> Credentials:
        """Give the account new keys; those that ``credentials`` leaves out are generated.

        A pair that is given as the account has it stays as it is. Tokens that were issued stay valid.

        Args:
            account: whose keys.
            credentials: the new keys, or some of them.
            keep_old: how long the keys it has now are accepted beside the new ones: for ever with True, no longer with
                False, else so many seconds.

        Raises:
            DuplicateCredentials: a key is taken; nothing was changed.
            ValueError: ``keep_old`` is negative, or no number.
        """
        with self._lock:
            now = self.clock.time()
            until = _end(now, keep_old)
            complete = self._complete(credentials or Credentials())
            self._check_free(complete, account)
            old = KeySet(account, account.credentials, until, now)
            # Lookups take no lock: so the new keys come first, and then the old take only what the new have left.
            account.credentials = complete
            self._index(KeySet(account, complete))
            self._add_old(old)
            return complete

    def add_old_keys(self, account: Account, credentials: Credentials, keep: bool | float = True) -> None:
        """Let the account have further keys beside its own, as after a rotation; only those that are given.

        Args:
            account: whose keys.
            credentials: the old keys.
            keep: how long they are accepted, see `rotate`.

        Raises:
            DuplicateCredentials: a key is taken; nothing was changed.
            ValueError: ``keep`` is negative, or no number.
        """
        with self._lock:
            now = self.clock.time()
            keys = KeySet(account, credentials, _end(now, keep), now)
            self._check_free(credentials)
            self._add_old(keys)

    def retire_old_keys(self, account: Account) -> int:
        """End all but the newest keys of the account now; how many sets were accepted until then."""
        with self._lock:
            now = self.clock.time()
            alive = [keys for keys in account.old_keys if keys.until > now]
            for keys in alive:
                keys.until = now
            return len(alive)

    def _add_old(self, keys: KeySet) -> None:
        account, now = keys.account, self.clock.time()
        account.old_keys += (keys,)
        self._index(keys)
        ended = [old for old in account.old_keys if old.until <= now]
        for forgotten in ended[: max(0, len(ended) - OLD_KEYS_KEPT)]:
            account.old_keys = tuple(old for old in account.old_keys if old is not forgotten)
            for name, index in self._indexes():
                if (key := getattr(forgotten.credentials, name)) is not None and index.get(key) is forgotten:
                    del index[key]

    def _index(self, keys: KeySet) -> None:
        newest = keys.account.credentials
        for name, index in self._indexes():
            key = getattr(keys.credentials, name)
            if key is not None and (keys.rotated is None or key != getattr(newest, name)):
                index[key] = keys

    def _check_free(self, credentials: Credentials, account: Account | None = None) -> None:
        """Raise `DuplicateCredentials` if one of the keys is taken; pairs that ``account`` has now are free to it."""
        taken = []
        for name, index in self._indexes():
            key = getattr(credentials, name)
            if key is None or key not in index:
                continue
            secret = _SECRETS.get(name, name)
            own = account.credentials if account else None
            if own is None or getattr(own, name) != key or getattr(own, secret) != getattr(credentials, secret):
                taken.append(name)
        if taken:
            raise DuplicateCredentials(
                f"{', '.join(taken)}: this server knows it already, of another account or with another secret; every "
                "account, and every set of keys it gets, needs keys of its own"
            )

    def _indexes(self) -> Iterator[tuple[str, dict[str, KeySet]]]:
        yield "access_key", self._by_access_key
        yield "ak", self._by_ak
        yield "bearer_token", self._by_api_key

    def _free_name(self) -> str:
        number = self._added + 1
        while f"account-{number}" in self._accounts:
            number += 1
        return f"account-{number}"

    def _complete(self, given: Credentials) -> Credentials:
        made = Credentials(
            access_key=f"ALTAK{self._text(_MIXED, 21)}",
            secret_key=self._text(_HEX, 32),
            ak=self._text(_MIXED, 24),
            sk=self._text(_MIXED, 32),
            bearer_token=f"bce-v3/ALTAK-{self._text(_MIXED, 21)}/{self._text(_HEX, 40)}",
        )
        # A ready access token is nothing an account starts with: the mock issues them.
        names = [name for name in made.__slots__ if name != "access_token"]
        return replace(made, **{name: value for name in names if (value := getattr(given, name)) is not None})

    # Tokens

    def issue_access_token(self, account: Account) -> Token:
        """A new OAuth access token, in the layout of the service's samples (2.1)."""
        now = self.clock.time()
        with self._lock:
            app = f"{self._text(digits, 6)}-{self._text(digits, 7)}"
            value = f"24.{self._text(_HEX, 32)}.{ACCESS_TOKEN_LIFE}.{int(now) + ACCESS_TOKEN_LIFE}.{app}"
            return self._keep(Token(value, "oauth", account, now, now + ACCESS_TOKEN_LIFE))

    def issue_bearer_token(self, account: Account, life: float) -> Token:
        """A new IAM bearer token that lives ``life`` seconds (2.3)."""
        now = self.clock.time()
        with self._lock:
            value = f"bce-v3/ALTAK-{self._text(_MIXED, 21)}/{self._text(_HEX, 40)}"
            return self._keep(Token(value, "bearer", account, now, now + life))

    def token(self, value: str) -> Token | None:
        """The token as issued, also when it has ended, unless it was forgotten: see `TOKENS_KEPT`."""
        return self._tokens.get(value)

    def expire_tokens(self, account: Account) -> int:
        """End the life of every token of ``account`` now; how many there were."""
        now = self.clock.time()
        with self._lock:
            alive = [token for token in account.tokens.values() if token.lives(now)]
            for token in alive:
                token.expires = now
            return len(alive)

    def revoke_tokens(self, account: Account) -> int:
        """Take back every token of ``account`` now, as if it had never been issued; how many there were."""
        now = self.clock.time()
        with self._lock:
            alive = [token for token in account.tokens.values() if token.lives(now)]
            for token in alive:
                token.revoked = now
            return len(alive)

    def _keep(self, token: Token) -> Token:
        kept = token.account.tokens
        if len(kept) >= TOKENS_KEPT:
            # A tenth at a time, so that looking through them all costs each new token next to nothing.
            ended_first = sorted(kept.values(), key=lambda one: one.lives(token.issued))
            for old in ended_first[: -(-TOKENS_KEPT // 10)]:
                del kept[old.value], self._tokens[old.value]
        if token.account is self._accounts.get(token.account.name):
            kept[token.value] = self._tokens[token.value] = token
        return token

    # Replay

    def seen_before(self, nonce: str, signature: str, now: float) -> float | None:
        """When this very signed request was first seen, or None if it is new; it is then remembered.

        A time stamp may be ``skew`` seconds ahead of us and is good until it is as much behind, so a request is
        remembered for twice the skew, until it is refused for its age; at most the latest `REMEMBERED` are.
        """
        # The signature stands for whoever made it and for the time it covers; in form A it does not cover the nonce.
        # 64 bits of them, by a hash that Python keys anew in each process, take a third of the memory. That a new
        # request is taken for one of fifty thousand others has a chance of 1 in 10^14, and nobody can bring it about.
        key = hash(f"{signature} {nonce}")
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
            if not 0.0 <= now - self._explained_since < 1.0:  # less than 0 where virtual time has been taken away
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


def _end(now: float, keep: bool | float) -> float:
    """When keys end that are kept so long."""
    if isinstance(keep, bool):
        return inf if keep else now
    if not keep >= 0:  # also for nan
        raise ValueError(f"old keys are kept for ever (True), no longer (False) or for seconds from 0; got {keep!r}")
    return now + keep
