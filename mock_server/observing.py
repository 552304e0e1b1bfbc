"""What the journal notes for a verdict on the client, and the verdict on an account.

Noted at the door, since it is masked when it is written: whether two requests came with the same token, and whether a
secret came where none belongs. Neither costs a request a microsecond.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from operator import itemgetter
from typing import TYPE_CHECKING

from mock_server.journal import Entries, Entry
from mock_server.state import Account, State
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.http import HttpRequest

if TYPE_CHECKING:
    from qfkit.grading import Limits, Observation, Verdict
    from qfkit.grading.report import ScheduleLike

#: Characters from which on a secret is looked for: shorter ones, made up for a test, stand in texts by chance.
_LONG = 12

_MASK = "***"

_VALUE = itemgetter(1)

#: Moments that are given to the mock to finish its notes, and how many seconds of real time each has.
_MOMENTS, _MOMENT = 50, 0.002


def note(entry: Entry, request: HttpRequest, token: str | None, account: Account | None) -> None:
    """Note of a request what the journal will not show.

    Args:
        entry: where it is noted.
        request: as it came.
        token: that it came with.
        account: whose it is.
    """
    if token is not None:
        entry.token = hash(token)  # Python keys it anew in each process, and it was reckoned to look the token up
    if account is None:
        return
    needles = account.needles
    if needles is None or needles.of is not account.credentials:
        needles = account.needles = Needles(account.credentials)
    body, target = request.body, request.target
    headers = "\n".join(map(_VALUE, request.headers))
    for text, data in needles.all:
        if data in body or text in headers or text in target:
            needles.found(entry, body, target, headers)
            return


class Needles:
    """The secret keys of an account, ready to be looked for.

    Args:
        of: the keys that they are.
    """

    __slots__ = ("_names", "all", "of")

    def __init__(self, of: Credentials) -> None:
        self.of = of
        names = ("secret_key", "sk")  # an API key of v2 is sent with every request
        wanted = [(name, key) for name in names if (key := getattr(of, name)) is not None and len(key) >= _LONG]
        self._names = [name for name, _ in wanted]
        #: Each as text and as bytes.
        self.all = tuple([(key, key.encode()) for _, key in wanted])

    def found(self, entry: Entry, body: bytes, target: str, headers: str) -> None:
        """One of them is there: say which and where, and take it out of what is written."""
        for name, (text, data) in zip(self._names, self.all, strict=True):
            # OAuth takes the application's secret for a token: in the query, or in a form (wire reference 2.1).
            if name == "sk" and entry.dialect == "oauth":
                continue
            stands = (
                ("the body", data in body),
                ("the target", text in target),
                ("a header", text in headers),
            )
            if places := [place for place, there in stands if there]:
                entry.body = entry.body.replace(data, _MASK.encode())
                entry.target = entry.target.replace(text, _MASK)
                entry.headers = tuple((key, value.replace(text, _MASK)) for key, value in entry.headers)
                entry.findings += (f"secret-in-clear: {name} in {' and '.join(places)}",)


def observe(account: Account, now: float) -> tuple[Observation, ...]:
    """What the account's journal shows of its client, at ``now`` on the server's clock."""
    from qfkit.grading import observations  # noqa: PLC0415 - nobody who asks for no verdict should load it

    entries = account.journal.entries()
    _settle(entries, now)
    return observations(entry.to_dict() for entry in entries)


def _settle(entries: Entries, now: float) -> None:
    """Give the mock a moment to note how answers ended that have left: their client may be here before the note."""
    waits = threading.Event()  # in real time, whatever clock the test has put in the place of `time`
    for _ in range(_MOMENTS):
        if not any(
            entry.outcome == "pending" and entry.response is not None and entry.time + entry.response.lasts <= now
            for entry in entries
        ):
            return
        waits.wait(_MOMENT)


class Graded:
    """The part of an account's handle that is about its client."""

    _account: Account
    _state: State

    @property
    def waits_seen(self) -> bool:
        """Whether the server's clock shows the waits of the client; one that skips them in its own time shows none.

        Can be set; ``qianfan_client`` does where it skips.
        """
        return self._account.waits_seen

    @waits_seen.setter
    def waits_seen(self, seen: bool) -> None:
        self._account.waits_seen = seen

    def noticed(self, *numbers: int, call_id: str | None = None) -> None:
        """Declare that the caller has seen how its calls ended: giving up was right, and the next request is another.

        Call it where the test has caught the error, or where the program has handled a stream that broke off.

        Args:
            numbers: of requests in the journal; without any, all that came so far.
            call_id: only those with this ``X-Qfkit-Call-Id``.
        """
        entries = self._account.journal.entries()
        if call_id is not None:
            entries = entries.where(predicate=lambda entry: entry.header("x-qfkit-call-id") == call_id)
        self._account.noticed.update(numbers or (entry.number for entry in entries))

    def verdict(
        self,
        schedule: ScheduleLike | None = None,
        *,
        limits: Limits | None = None,
        noticed: bool | Collection[int] = (),
    ) -> Verdict:
        """What is to be said of the client: retries, waits, streams, tokens, signatures. See ``docs/verdicts.md``.

        Args:
            schedule: what the client says of its waits: a `RetryPolicy`, or a name such as ``"openai"`` or
                ``"aws-full:base=0.5,cap=8"``. The waits are then held against it, statistically.
            limits: where the line is drawn, a `qfkit.grading.Limits`.
            noticed: True declares that the caller has seen how all its calls ended, or numbers of requests; beside
                what `noticed` was told.

        Raises:
            ValueError: there is no such schedule.
            ImportError: a schedule is to be judged, and scipy is not there: ``pip install 'qfkit[grading]'``.
        """
        from qfkit.grading import grade  # noqa: PLC0415 - as above

        now, journal = self._state.clock.time(), self._account.journal
        seen = observe(self._account, now)
        ended: set[int] = self._account.noticed | (
            {each.number for each in seen} if noticed is True else set(noticed or ())
        )
        return grade(
            seen,
            schedule=schedule,
            noticed=ended,
            limits=limits,
            waits_seen=self._account.waits_seen,
            now=now,
            forgotten=journal.forgotten if self._state.settings.journal else journal.count,
        )
