"""Whether a client did what a sound one does, and what it is told when it did not."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterator

from qfkit.testing.conformance.case import Case, Expected, Outcome
from qfkit.testing.conformance.shape import TEXT
from qfkit.testing.conformance.stage import Stage

#: What Python raises when a program has not thought of something. A client has errors of its own.
ACCIDENTS: tuple[type[BaseException], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    RecursionError,
    StopIteration,
    TypeError,
    UnicodeError,
)

#: Seconds by which a wait may fall short: clocks are read at different moments.
_TOLERANCE = 0.05
_WIDTH = 110


class NotConforming(AssertionError):
    """A client did otherwise than a sound one.

    Attributes:
        case: where.
        complaints: what is wrong, a line each.
        told: all that is to be said.
    """

    def __init__(self, case: Case, complaints: Collection[str], message: str) -> None:
        super().__init__(message)
        self.case = case
        self.told = message
        self.complaints = tuple(complaints)


def judge(stage: Stage, outcome: Outcome, errors: tuple[type[BaseException], ...]) -> list[str]:
    """What is wrong with what the client did, in words; nothing where nothing is.

    Args:
        stage: where it was played.
        outcome: of the last question.
        errors: what the client may raise; `Exception` for anything but `ACCIDENTS`.
    """
    return [*_result(stage.case.expected, outcome, errors), *_requests(stage, outcome)]


def _result(wanted: Expected, outcome: Outcome, errors: tuple[type[BaseException], ...]) -> Iterator[str]:
    odd = next((piece for piece in outcome.pieces if not isinstance(piece, str)), None)
    if odd is not None and outcome.error is None:
        yield f"it gave {type(odd).__name__} {_short(repr(odd))}, which is no text"
        return
    error = outcome.error
    if error is None:
        if wanted.text is None and wanted.fails:
            yield f"it raised no error, and gave {_text(outcome)}"
        elif wanted.text is not None and outcome.text != wanted.text:
            yield f"it gave {_text(outcome)}{_difference(outcome.text, wanted.text)}"
        elif wanted.so_far is not None and not wanted.fails and not wanted.so_far.startswith(outcome.text):
            yield f"it gave {_text(outcome)}, which was not sent"
        return
    if not isinstance(error, errors) or (errors == (Exception,) and isinstance(error, ACCIDENTS)):
        accident = "which is an accident, no error of a client" if errors == (Exception,) else _none_of(errors)
        yield f"it raised {_raised(error)}, {accident}"
    elif wanted.text is not None and not wanted.fails:
        yield f"it raised {_raised(error)}"
    if wanted.tells and not any(word in str(error) for word in wanted.tells):
        yield f"its error says neither {' nor '.join(map(repr, wanted.tells))}: {_raised(error)}"
    if wanted.so_far is not None and not wanted.so_far.startswith(outcome.text):
        yield f"before its error it gave {_text(outcome)}, which is no beginning of what was sent"


def _requests(stage: Stage, outcome: Outcome) -> Iterator[str]:
    wanted, count = stage.case.expected, len(outcome.requests)
    if wanted.attempts is not None and not wanted.attempts[0] <= count <= wanted.attempts[1]:
        fewest, many = wanted.attempts
        yield f"it made {_counted(count, 'request')}, where {_range(fewest, many)} {'is' if many == 1 else 'are'} due"
    if wanted.wait is not None and outcome.waits:
        least, most = wanted.wait
        if outcome.waits[0] < least - _TOLERANCE:
            yield f"it came back after {outcome.waits[0]:.2f} s, before the {least:g} s were over"
        elif outcome.waits[0] > most:
            yield f"it waited for {outcome.waits[0]:.0f} s, longer than anybody is patient ({most:g} s)"
    if wanted.free_of:
        # The caller has seen how each call ended, and asked the next question afterwards.
        ends = {each.requests[-1].number for each in stage.outcomes if each.requests}
        for finding in stage.account.verdict(noticed=ends).findings:
            if finding.code in wanted.free_of:
                yield f"the verdict on it: {finding.render()}"
    if wanted.also is not None and (wrong := wanted.also(stage, outcome)) is not None:
        yield wrong


def tell(stage: Stage, outcome: Outcome, complaints: Collection[str], suite: str) -> str:
    """All that is to be said about a failed case."""
    case = stage.case
    rows = [
        ("what happens", case.what),
        ("a sound client", expectation(case.expected)),
        ("this client", "; ".join(complaints)),
        ("why", case.why),
        ("what to do", case.do),
    ]
    lines = [f"{case.name} ({case.level}): {suite}, {stage.shape.dialect}", ""]
    for name, text in rows:
        lines += _row(name, text)
    if stage.raws:
        lines += ["", "what was sent:", *(f"    {line}" for raw in stage.raws for line in raw.shown())]
    if outcome.error is None and outcome.streamed:
        lines += ["", f"what it handed out: {_short(repr(outcome.pieces), 400)}"]
    lines += ["", "what the mock saw:", *(f"    {line}" for line in repr(stage.account.requests).splitlines()[:12])]
    lines += [
        "",
        "a known deviation is declared with its reason, and then expected to fail:",
        f'    deviations = {{{json.dumps(case.name)}: "..."}}',
    ]
    return "\n".join(lines)


def _row(name: str, text: str) -> list[str]:
    head, *more = text.splitlines() or [""]
    lines = textwrap.wrap(head, _WIDTH - 17, break_long_words=False) or [""]
    lines = [f"{name + ':':<16} {lines[0]}", *(f"{'':<17}{line}" for line in lines[1:])]
    return lines + [f"{'':<17}{line}" for line in more]


def expectation(wanted: Expected, *, exact: bool = True) -> str:
    """What a sound client does, in words; not ``exact``, the text that most cases have is called the text."""
    said: list[str] = []
    if wanted.text is not None:
        said.append(f"gives {_quoted(wanted.text, exact=exact)}")
    if wanted.fails:
        said.append("raises an error of its own")
    words = [" or ".join(said)] if said else []
    if wanted.fails and wanted.so_far is not None and wanted.text is None:
        words.append(
            f"hands out no more before than a beginning of {_quoted(wanted.so_far, exact=exact)}"
            if wanted.so_far
            else "hands out nothing before"
        )
    if wanted.attempts is not None:
        words.append(f"makes {_range(*wanted.attempts)} request{'s' if wanted.attempts[1] != 1 else ''}")
    if wanted.wait is not None:
        words.append(f"waits {_range(*wanted.wait)} seconds")
    if wanted.tells:
        words.append(f"says {' or '.join(map(repr, wanted.tells))} in its error")
    if wanted.free_of:
        words.append(f"has a verdict without {', '.join(wanted.free_of)}")
    return "; ".join([*words, *([wanted.words] if wanted.words else [])])


def _quoted(text: str, *, exact: bool) -> str:
    return "the text" if text == TEXT and not exact else _short(repr(text))


def _text(outcome: Outcome) -> str:
    return _short(repr(outcome.text)) if outcome.text else "no text"


def _difference(got: str, wanted: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted)))
    if not got or max(len(got), len(wanted)) <= 60:
        return f" instead of {_short(repr(wanted))}"
    return (
        f" ({len(got)} characters) instead of {len(wanted)}: at character {at} "
        f"{got[at : at + 12]!r} instead of {wanted[at : at + 12]!r}"
    )


def _raised(error: BaseException) -> str:
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {_short(said, 160)}" if said else type(error).__name__


def _none_of(errors: tuple[type[BaseException], ...]) -> str:
    return f"which is none of {', '.join(each.__name__ for each in errors)}"


def _range(least: float, most: float) -> str:
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[: limit - 25]}…{text[-20:]}"
