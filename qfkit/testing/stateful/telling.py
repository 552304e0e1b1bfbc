"""What is said when a client and the model part: what was done, what the model expected, what came, the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mock_server.journal import Entry
from qfkit.testing.stateful.model import Met


class ModelFailure(AssertionError):
    """The client did not do what the model expected of it.

    Attributes:
        code: what kind of difference it is, a key of `ADVICE`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


#: Kind of difference -> what to do about it.
ADVICE: dict[str, str] = {
    "gave-up": "try again after this error, or say so in the Behaviour: fewer attempts, or other codes in retries",
    "went-on": "stop after this attempt, or say so in the Behaviour: more attempts, or other codes in retries",
    "not-noticed": "look for the error before the text: under HTTP 200 in the body (error_code), in the middle of a "
    "stream in an event, and at its end for the mark that it is whole (is_end, finish_reason, [DONE])",
    "failed": "this call should have returned; the error above is the client's own",
    "other-text": "compare how the pieces are put together: each event's text once, in order, none left out",
    "other-code": "let the error carry the service's code, or override code_of() to say where it stands",
    "not-asked": "every call asks the service: no request came of this one",
    "other-answer": "the mock answered something else than the model expected: if nothing but this client uses the "
    "account, please report it",
    "steps-lost": "steps wait that should have been met, or the other way round: does the client send requests of its "
    "own?",
    "stream-open": "close the response when the caller stops reading: in a with block, or in the generator's finally",
}


@dataclass
class Telling:
    """One call, as far as it is known.

    Attributes:
        what: the call, as it was made.
        prompt: what it asked.
        attempts: what the model expected of each request that came, in turn.
        entries: the requests.
        outcome: what came of the call, in words.
    """

    what: str
    prompt: str = ""
    attempts: list[Met] = field(default_factory=list)
    entries: Sequence[Entry] = ()
    outcome: str = ""

    def failure(self, code: str, expected: str) -> ModelFailure:
        """The error to raise.

        Args:
            code: a key of `ADVICE`.
            expected: what should have come.
        """
        lines = [
            f"{self.what}: the client and the model part ({code})",
            f"  expected: {expected}",
            f"  came:     {self.outcome}",
            "  requests of this call, and what the model expected each to meet:",
        ]
        foretold = [f"      {met.what}" for met in self.attempts]
        for number, entry in enumerate(self.entries):
            lines += [f"    {entry}", *foretold[number : number + 1]]
        if not self.entries:
            lines.append("    (no requests)")
        return ModelFailure(code, "\n".join([*lines, f"  How to fix: {ADVICE[code]}"]))
