"""What a case is: what the service does, what a sound client makes of it, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from qfkit.protocol.dialects import INFERENCE_DIALECTS

if TYPE_CHECKING:
    from mock_server.journal import Entry
    from qfkit.testing.conformance.stage import Stage

#: ``required``: a client that does otherwise loses answers, money or secrets, by what Qianfan is known to do and what
#: any network does. ``recommended``: what standards allow beside that, and manners.
Level: TypeAlias = Literal["required", "recommended"]

#: What a client may leave alone, with the words for a case that does not apply then.
Ability: TypeAlias = Literal["stream", "retries", "signs", "tokens", "sse", "read_timeout"]

#: Areas, in the order of the tables.
AREAS: dict[str, str] = {
    "signature": "keys, signatures, and what is signed",
    "errors": "errors of the service: noticed, told, tried again only where that may help",
    "backoff": "waits between attempts",
    "retry-after": "waits that the service asks for, in every form",
    "tokens": "access tokens that end",
    "quotas": "limits of the service",
    "answers": "whole answers in unusual bytes",
    "splits": "streams cut into pieces anywhere",
    "lines": "line ends and empty lines of a stream",
    "fields": "fields of server-sent events",
    "comments": "comments in a stream",
    "content": "what the events of a stream may say",
    "ends": "how a stream ends",
    "cuts": "streams that break off",
    "stalls": "streams that fall silent",
    "failures": "errors in a stream",
    "damage": "events that cannot be read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a sound client does.

    With a ``text`` and ``fails`` either will do: the text whole, or an error.

    Attributes:
        text: the answer, to the letter.
        fails: it raises an error of its own.
        so_far: of a stream that fails, the text of which no more than a beginning may have been handed out.
        attempts: requests for inference that the last call may make, least and most.
        wait: seconds between the first two of them, least and most.
        free_of: codes of a verdict that must not be found.
        tells: what has to stand in the error, one of them.
        also: looks at the rest; says what is wrong, None when nothing is.
        words: what ``also`` looks for.
    """

    text: str | None = None
    fails: bool = False
    so_far: str | None = None
    attempts: tuple[int, int] | None = None
    wait: tuple[float, float] | None = None
    free_of: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()
    also: Callable[[Stage, Outcome], str | None] | None = None
    words: str = ""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a client did with one question.

    Attributes:
        streamed: it was asked for a stream.
        pieces: what it handed out, in order; of a whole answer the one text.
        error: what it raised.
        elapsed: seconds until it was done.
        first: seconds until the first piece that says something; None where there was none.
        requests: what the mock saw meanwhile: inference, without tokens and lists of models.
    """

    streamed: bool
    pieces: list[object] = field(default_factory=list)
    error: BaseException | None = None
    elapsed: float = 0.0
    first: float | None = None
    requests: Sequence[Entry] = ()

    @property
    def text(self) -> str:
        """All that it handed out."""
        return "".join(piece for piece in self.pieces if isinstance(piece, str))

    @property
    def waits(self) -> list[float]:
        """Seconds between the end of each attempt and the next one, on the clock of the mock."""
        ended = [entry.time if entry.finished is None else entry.finished for entry in self.requests]
        return [later.time - end for later, end in zip(self.requests[1:], ended, strict=False)]


def ask(stage: Stage) -> Outcome:
    """One question, the way most cases are played."""
    return stage.ask()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that can happen to a client.

    Attributes:
        name: ``area/what``, unique.
        what: the service does, a phrase.
        expected: of a sound client.
        do: what that is, for whoever's client does otherwise.
        why: with the source of the fact.
        script: puts it on the account.
        play: asks; returns what came of the last question.
        streamed: it is about a stream.
        level: see `Level`.
        dialects: that it applies to.
        needs: abilities without which it says nothing about a client.
        keys: the client is made with keys that are not the account's, where they are ``wrong``.
    """

    name: str
    what: str
    expected: Expected
    do: str
    why: str
    script: Callable[[Stage], object]
    play: Callable[[Stage], Outcome] = ask
    streamed: bool = False
    level: Level = "required"
    dialects: tuple[str, ...] = INFERENCE_DIALECTS
    needs: tuple[Ability, ...] = ()
    keys: Literal["good", "wrong"] = "good"

    def __post_init__(self) -> None:
        if self.area not in AREAS:
            raise ValueError(f"case {self.name!r}: there is no area {self.area!r}; they are {', '.join(AREAS)}")

    @property
    def area(self) -> str:
        """A key of `AREAS`."""
        return self.name.partition("/")[0]
