"""The plainest model of an account: what each request to it should meet. It knows nothing of how the mock works.

It is told what the test does (scripts, limits, keys), and asked about the requests of a call one after the other.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from mock_server.quota.limits import error_code
from qfkit.protocol.dialects import InferenceDialect
from qfkit.protocol.errors import ErrorSpec, classify, envelope, lookup, translate
from qfkit.testing.strategies.steps import Script, Step

#: Seconds in which a window's end and a request are not told apart: both are sums of floats.
_ABOUT = 1e-5

_MINUTE = 60.0

#: Codes after which a client gets a new token.
_STALE = frozenset({110, 111, "invalid_iam_token"})

#: A token that is good, or how it has ended.
TokenState = Literal["good", "revoked", "expired"] | None
LIVES: Final = "good"
ENDED: Final = ("revoked", "expired")

#: How a request ends for the client: with the whole answer; refused; without an answer, or a whole one.
Ending = Literal["answer", "error", "broken"]


@dataclass(frozen=True, slots=True)
class Met:
    """What a request should meet.

    Attributes:
        what: in words.
        ending: how it ends.
        text: the answer, or what comes of it before it breaks; None where the mock makes it up.
        spec: the error, where it ends with one.
        refused: the whole answer is the error, so that the journal has its code; else it comes in a stream.
        token: the error is that the token has ended.
        stream: it is a stream that fails, after its head has come.
    """

    what: str
    ending: Ending = "answer"
    text: str | None = None
    spec: ErrorSpec | None = None
    refused: bool = False
    token: bool = False
    stream: bool = False

    @property
    def code(self) -> int | str | None:
        """What the journal should have for its error code."""
        return self.spec.code if self.spec is not None and self.refused else None


class AccountModel:
    """What an account's requests will meet.

    Args:
        dialect: what is spoken.
        tokens: requests come with bought tokens; else they are signed, or come with a key.
    """

    def __init__(self, dialect: InferenceDialect, *, tokens: bool) -> None:
        self._dialect = dialect
        self._tokens = tokens
        self.script: deque[Step] = deque()
        #: The keys of the client are the account's newest, and they are accepted.
        self.keys_newest = self.keys_good = True
        #: The token of the client: None before it has one.
        self.token: TokenState = None
        #: The service did not give the client a new token when it last asked for one.
        self.renewal_refused = False
        self._total: int | None = None
        self._rpm: int | None = None
        self._window_ends = 0.0
        self._used = 0

    # What the test does

    def queue(self, script: Script) -> None:
        """Steps are queued."""
        self.script.extend(script.unrolled())

    def limit(self, *, total: int | None = None, rpm: int | None = None) -> None:
        """Limits are set in the place of those before; they count anew."""
        self._total, self._rpm = total, rpm
        self._window_ends, self._used = 0.0, 0

    def connect(self) -> None:
        """A client begins, with the newest keys."""
        self.keys_newest = self.keys_good = True
        self.token = None
        self.renewal_refused = False

    def rotate(self, *, keep_old: bool) -> None:
        """The account gets new keys. Those from before its newest last as they were told to."""
        self.keys_good = self.keys_good and (keep_old or not self.keys_newest)
        self.keys_newest = False

    def retire_old_keys(self) -> None:
        """All keys but the newest end."""
        self.keys_good = self.keys_newest

    @property
    def limited(self) -> bool:
        """There is a limit."""
        return self._total is not None or self._rpm is not None

    @property
    def idle(self) -> bool:
        """The next request is answered as the next step says, and none is waiting."""
        return not self.script and self.keys_good and not self.limited

    def end_tokens(self, how: Literal["revoked", "expired"]) -> None:
        """The tokens that were issued are good no more."""
        if self.token == LIVES:
            self.token = how

    # What a request meets

    def buy_token(self) -> ErrorSpec | None:
        """The client fetches a token: the refusal, or None when it gets one."""
        self.renewal_refused = not self.keys_good
        if self.keys_good:
            self.token = LIVES
            return None
        return _row("iam", "IamSignatureInvalid") if self._dialect == "v2" else _row("oauth", "invalid_client")

    def meet(self, now: float, *, stream: bool, answered: int | str | None) -> Met:
        """What the next request meets, at ``now`` on the mock's clock.

        Args:
            now: Unix seconds.
            stream: it asks for a stream.
            answered: the code that it was answered with, for what no model can tell.
        """
        if (refusal := self._identity()) is not None:
            return refusal
        if (refusal := self._quota(now, answered)) is not None:
            return refusal
        if not self.script:
            return Met("an answer that the mock makes up, as the script is empty")
        return _played(self._dialect, self.script.popleft(), stream=stream)

    def _identity(self) -> Met | None:
        if self._tokens:
            if self.token == LIVES:
                return None
            code = "invalid_iam_token" if self._dialect == "v2" else 111 if self.token == ENDED[1] else 110
            return _refusal(self._dialect, code, f"a refusal, as its token was {self.token}", token=True)
        if self.keys_good:
            return None
        codes: dict[str, int | str] = {"text_generation": 401, "v1": 14, "v2": "invalid_iam_token"}
        return _refusal(self._dialect, codes[self._dialect], "a refusal, as its keys were rotated out")

    def _quota(self, now: float, answered: int | str | None) -> Met | None:
        if self._total is not None and self._total <= 0:
            code = error_code(self._dialect, "quota_total")
            return _refusal(self._dialect, code, "a refusal, as the whole quota is used up")
        if self._rpm is not None:
            code = error_code(self._dialect, "rate_limit_rpm")
            over = now >= self._window_ends if abs(now - self._window_ends) > _ABOUT else answered != code
            if over:
                self._window_ends, self._used = now + _MINUTE, 0
            if self._used >= self._rpm:
                return _refusal(self._dialect, code, f"a refusal, as {self._rpm} requests came within a minute")
            self._used += 1
        if self._total is not None:
            self._total -= 1
        return None


def _row(dialect: str, code: int | str) -> ErrorSpec:
    found = lookup(dialect, code)
    assert found is not None
    return found


def _refusal(dialect: str, code: int | str, what: str, *, token: bool = False) -> Met:
    return Met(f"{what} (code {code})", "error", spec=_row(dialect, code), refused=True, token=token)


def _played(dialect: str, step: Step, *, stream: bool) -> Met:
    """What a step does to a request."""
    if step.method == "fail":
        spec = translate(step.said, dialect)
        return Met(str(step), "error", spec=spec, refused=True, token=spec.code in _STALE)
    if step.method == "fault":
        return Met(str(step), "broken", text="")
    if step.method == "stream" and stream:
        if (after := step.options.get("error_after")) is not None:
            # Its head was a good one: of the error the client sees no status, only what the event says.
            said = envelope(translate(step.options["error"], dialect))
            seen = classify(dialect, HTTPStatus.OK, said)
            assert seen is not None
            stale = seen.code in _STALE and not after
            return Met(str(step), "error", text="".join(step.said[:after]), spec=seen, stream=True, token=stale)
        if (after := step.options.get("cut_after")) is not None:
            return Met(str(step), "broken", text="".join(step.said[:after]), stream=True)
    return Met(str(step), "answer", text=step.text)
