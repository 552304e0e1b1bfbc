"""Where a case is played: a fresh account of the mock, a client that knows it, and what both did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from qfkit.testing.conformance.case import Case, Outcome
from qfkit.testing.conformance.shape import Raw, Shape, at_once

if TYPE_CHECKING:
    from mock_server import AccountHandle
    from mock_server.delivery import Ending, Wire
    from mock_server.journal import Entry
    from mock_server.scenario import Times

#: Dialects of requests that ask a model; the others buy tokens and list models.
_INFERENCE = frozenset({"text_generation", "v1", "v2"})

#: Milliseconds of real time that the mock is given to see that a client hung up.
_MOMENT = 0.005


class Stage:
    """One case under way.

    Args:
        case: which.
        account: fresh.
        shape: how its dialect is written.
        call: asks for a whole answer.
        stream: asks for a stream.
        read_timeout: seconds that the client waits for bytes, None where it was not said.
        secrets: that it was given, by name.
    """

    def __init__(
        self,
        case: Case,
        account: AccountHandle,
        shape: Shape,
        *,
        call: Callable[[str], object],
        stream: Callable[[str], Iterable[object]],
        read_timeout: float | None = None,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.case = case
        self.account = account
        self.shape = shape
        self.read_timeout = read_timeout or 0.0
        self.secrets = secrets or {}
        #: Everything that was asked, in order.
        self.outcomes: list[Outcome] = []
        #: What was scripted byte by byte.
        self.raws: list[Raw] = []
        self._call = call
        self._stream = stream

    # For scripts

    def raw(
        self,
        pieces: bytes | Sequence[bytes] | Sequence[tuple[float, bytes]],
        *,
        status: int = 200,
        content_type: str | None = "",
        headers: Sequence[tuple[str, str]] = (),
        streamed: bool | None = None,
        ending: Ending = "complete",
        wire: Wire | None = None,
        times: Times = "forever",
    ) -> None:
        """Queue exact bytes.

        Args:
            pieces: of the body, with their times or all at once.
            status: of HTTP.
            content_type: empty for the dialect's own, None for none.
            headers: further ones.
            streamed: in chunks; None where the case is about a stream.
            ending: how the body ends.
            wire: what happens below.
            times: how many requests get it. For ever is for what no retry may hide.
        """
        if isinstance(pieces, bytes) or not pieces or isinstance(pieces[0], bytes):
            placed = at_once(pieces)  # type: ignore[arg-type]
        else:
            placed = tuple(pieces)  # type: ignore[arg-type]
        chunked = self.case.streamed if streamed is None else streamed
        own = self.shape.content_type if chunked else "application/json; charset=utf-8"
        kind = own if content_type == "" else content_type
        step = Raw(
            placed,
            status=status,
            headers=(*([("Content-Type", kind)] if kind is not None else []), *headers),
            streamed=chunked,
            ending=ending,
            wire=wire,
        )
        self.raws.append(step)
        self.account.step(step, times=times)

    # For plays

    def ask(self, prompt: str = "背一首诗", *, streamed: bool | None = None, take: int | None = None) -> Outcome:
        """Put a question to the client, and note what it does.

        Args:
            prompt: the question.
            streamed: ask for a stream; None where the case is about one.
            take: stop after so many pieces and close; None reads to the end.
        """
        outcome = Outcome(streamed=self.case.streamed if streamed is None else streamed)
        before, began = len(self.account.requests), time.perf_counter()
        try:
            if outcome.streamed:
                self._read(self._stream(prompt), outcome, began, take)
            else:
                outcome.pieces.append(self._call(prompt))
        except Exception as error:  # noqa: BLE001 - what it raises is what the case is about
            outcome.error = error
        outcome.elapsed = time.perf_counter() - began
        outcome.requests = self.inference(before)
        self.outcomes.append(outcome)
        return outcome

    def inference(self, since: int = 0) -> list[Entry]:
        """What the mock was asked, without tokens and lists of models."""
        return [entry for entry in self.account.requests[since:] if entry.dialect in _INFERENCE]

    def ending_of(self, entry: Entry, seconds: float = 2.0) -> str:
        """How an answer ended, once the mock has noted it; within so many seconds of real time."""
        until = time.perf_counter() + seconds
        while entry.outcome == "pending" and time.perf_counter() < until:
            self.moment()
        return entry.outcome

    @staticmethod
    def moment() -> None:
        """A few milliseconds of real time, whatever clock the process has."""
        import threading  # noqa: PLC0415

        threading.Event().wait(_MOMENT)

    @staticmethod
    def _read(stream: Iterable[object], outcome: Outcome, began: float, take: int | None) -> None:
        iterator = iter(stream)
        try:
            for piece in iterator:
                outcome.pieces.append(piece)
                if outcome.first is None and piece:
                    outcome.first = time.perf_counter() - began
                if take is not None and len([each for each in outcome.pieces if each]) >= take:
                    break
        finally:
            for each in (iterator, stream):
                close = getattr(each, "close", None)
                if callable(close):
                    with suppress(Exception):
                        close()
