"""Steps written as data: in the YAML file, over the control API, or with `play`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from mock_server import scenario
from mock_server.answers.kinds import Corpus, Echo, read_text
from mock_server.answers.kinds import Sequence as Texts
from mock_server.answers.refusals import refusal
from mock_server.faults.options import OptionError, UnknownOption
from mock_server.scenario.steps import Action, Times
from qfkit.protocol.errors import UnknownErrorCode

_Times: TypeAlias = Annotated[int, msgspec.Meta(ge=1)] | Literal["forever"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a script, ready to be queued.

    Attributes:
        action: what it does.
        times: how many requests meet it, from 1, or ``"forever"``; None where it was not said.
        enter: the state that the account is in after the last of them, None to stay in the one it is in.
    """

    action: Action
    times: Times | None = None
    enter: str | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """All steps so far start again when they are through.

    Attributes:
        times: how often they are played in all, from 1, or ``"forever"``.
    """

    times: Times = "forever"


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every step of data may have beside its own keys."""

    times: _Times | None = None
    enter: Annotated[str, msgspec.Meta(min_length=1)] | None = None


class ReplyStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- reply: text``: an answer; ``null`` makes it up. Options of `Delivery` go beside it."""

    reply: str | None

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        return scenario.answer(self.reply, options)


class TemplateStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- template: "{{ text }}"``: an answer that a Jinja template writes."""

    template: str

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        from mock_server.answers.templates import Template  # noqa: PLC0415 - most mocks need no Jinja

        return scenario.answer(None, options, source=Template(self.template))


class EchoStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- echo: "You asked: "``: what the user asked last, after a prefix; ``""`` for none."""

    echo: str

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        return scenario.answer(None, options, source=Echo(self.echo))


class SequenceStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- sequence: [a, b]``: the nth request gets the nth text; after the last the first again with ``cycle``."""

    sequence: Annotated[list[str], msgspec.Meta(min_length=1)]
    cycle: bool = False

    def __post_init__(self) -> None:
        if self.times is None:
            msgspec.structs.force_setattr(self, "times", "forever" if self.cycle else len(self.sequence))

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        return scenario.answer(None, options, source=Texts(tuple(self.sequence), self.cycle))


class FileStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- file: answer.txt``: the text of a file, which is read when the step is."""

    file: str

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        return scenario.answer(read_text(self.file, "file"), options)


class CorpusStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- corpus: answers.jsonl``: answers from a file; the nearest, in turn, or at random."""

    corpus: str
    order: Literal["in turn", "random"] = "in turn"
    times: _Times | None = "forever"

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        return scenario.answer(None, options, source=Corpus.read(self.corpus, self.order))


class CallToolStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- call_tool: get_weather``: a call of a declared tool; ``null`` for the first."""

    call_tool: str | None
    arguments: dict[str, Any] | None = None

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        from mock_server.answers.tools import CallTool  # noqa: PLC0415 - nor a maker of JSON by schema

        return scenario.answer(None, options, source=CallTool(self.call_tool, self.arguments))


class RefuseStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- refuse: sensitive-input``: an answer by which the content filter refuses."""

    refuse: str

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        found = refusal(self.refuse)
        return scenario.answer(found.text, {**found.options, **options})


class FailStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- fail: 18``: a Qianfan code, a v2 string code or an HTTP status."""

    fail: int | str
    retry_after: Annotated[float, msgspec.Meta(ge=0, le=86400)] | None = None
    message: str | None = None

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        for name in options:
            raise UnknownOption(name, f"Object contains unknown field `{name}`")
        return scenario.Failure(code=self.fail, message=self.message, retry_after=self.retry_after)


class StreamStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- stream: [pieces]``, or a text with ``chunk``: an answer whose stream has these pieces.

    Options of `Delivery` go beside it.
    """

    stream: list[str] | str

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        if isinstance(self.stream, str) and options.get("chunk") is None:
            raise OptionError("stream", "Expected `array` of pieces; a text needs `chunk: word` or the like beside it")
        return scenario.stream(self.stream, options)


class FaultStep(_Written, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- fault: reset``: a fault of a whole answer, by its name. Its own options go beside it."""

    fault: str

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        from mock_server.faults.whole import fault_of  # noqa: PLC0415 - as in AccountHandle.fault

        return fault_of(self.fault, options)


class LoopStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- loop: forever``, or a number: the steps before it start again when they are through."""

    loop: _Times


_AnyStep: TypeAlias = (
    ReplyStep
    | TemplateStep
    | EchoStep
    | SequenceStep
    | FileStep
    | CorpusStep
    | CallToolStep
    | RefuseStep
    | FailStep
    | StreamStep
    | FaultStep
    | LoopStep
)

#: The key that opens a step of a script -> its type.
STEPS: dict[str, type[_AnyStep]] = {
    "reply": ReplyStep,
    "template": TemplateStep,
    "echo": EchoStep,
    "sequence": SequenceStep,
    "file": FileStep,
    "corpus": CorpusStep,
    "call_tool": CallToolStep,
    "refuse": RefuseStep,
    "fail": FailStep,
    "stream": StreamStep,
    "fault": FaultStep,
    "loop": LoopStep,
}


def step_of(data: dict[str, Any], where: str = "$") -> Step | Loop:
    """One step of a script, told by the key it opens with.

    Raises:
        msgspec.ValidationError: with the path of what is wrong.
    """
    kinds = [kind for kind in STEPS if kind in data]
    if len(kinds) != 1:
        raise msgspec.ValidationError(f"A step has exactly one of `{'`, `'.join(STEPS)}` - at `{where}`")
    kind = STEPS[kinds[0]]
    own = {name: value for name, value in data.items() if name in kind.__struct_fields__}
    options = {str(name): value for name, value in data.items() if name not in own}
    try:
        made = msgspec.convert(own, kind)
        if isinstance(made, LoopStep):
            if options:
                name = next(iter(options))
                raise UnknownOption(name, f"Object contains unknown field `{name}`")
            return Loop(made.loop)
        return Step(made.action(options), made.times, made.enter)
    except OptionError as error:
        path = f"{where}.{error.option}" if error.option in data else where
        raise msgspec.ValidationError(f"{error} - at `{path}`") from error
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{message} - at `{where}{path.rstrip('`')}`") from error
    except UnknownErrorCode as error:
        raise msgspec.ValidationError(f"{error} - at `{where}.{kinds[0]}`") from error
