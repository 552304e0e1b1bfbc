"""Steps written as data: in the YAML file, over the control API, or with `play`."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec

from mock_server import scenario
from mock_server.faults.options import OptionError, UnknownOption
from mock_server.scenario.steps import Action
from qfkit.protocol.errors import UnknownErrorCode

Times: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class ReplyStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- reply: text``: an answer; ``null`` makes it up. Options of `Delivery` go beside it."""

    reply: str | None
    times: Times = 1

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        return scenario.answer(self.reply, delivery=options)


class FailStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- fail: 18``: a Qianfan code, a v2 string code or an HTTP status."""

    fail: int | str
    times: Times = 1
    retry_after: Annotated[float, msgspec.Meta(ge=0, le=86400)] | None = None
    message: str | None = None

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        for name in options:
            raise UnknownOption(name, f"Object contains unknown field `{name}`")
        return scenario.Failure(code=self.fail, message=self.message, retry_after=self.retry_after)


class StreamStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- stream: [pieces]``, or a text with ``chunk``: an answer whose stream has these pieces.

    Options of `Delivery` go beside it.
    """

    stream: list[str] | str
    times: Times = 1

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        if isinstance(self.stream, str) and options.get("chunk") is None:
            raise OptionError("stream", "Expected `array` of pieces; a text needs `chunk: word` or the like beside it")
        return scenario.stream(self.stream, options)


class FaultStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``- fault: reset``: a fault of a whole answer, by its name. Its own options go beside it."""

    fault: str
    times: Times = 1

    def action(self, options: dict[str, Any]) -> Action:
        """What the step does."""
        from mock_server.faults.whole import fault_of  # noqa: PLC0415 - as in AccountHandle.fault

        return fault_of(self.fault, options)


Step: TypeAlias = ReplyStep | FailStep | StreamStep | FaultStep

#: The key that opens a step of a script -> its type.
STEPS: dict[str, type[Step]] = {
    "reply": ReplyStep,
    "fail": FailStep,
    "stream": StreamStep,
    "fault": FaultStep,
}


def step_of(step: dict[str, Any], where: str = "$") -> tuple[Action, int]:
    """One step of a script, told by the key it opens with: what it does, and how many requests meet it.

    Raises:
        msgspec.ValidationError: with the path of what is wrong.
    """
    kinds = [kind for kind in STEPS if kind in step]
    if len(kinds) != 1:
        raise msgspec.ValidationError(f"A step has exactly one of `{'`, `'.join(STEPS)}` - at `{where}`")
    kind = STEPS[kinds[0]]
    own = {name: value for name, value in step.items() if name in kind.__struct_fields__}
    options = {str(name): value for name, value in step.items() if name not in own}
    try:
        made = msgspec.convert(own, kind)
        return made.action(options), made.times
    except OptionError as error:
        path = f"{where}.{error.option}" if error.option in step else where
        raise msgspec.ValidationError(f"{error} - at `{path}`") from error
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{message} - at `{where}{path.rstrip('`')}`") from error
    except UnknownErrorCode as error:
        raise msgspec.ValidationError(f"{error} - at `{where}.{kinds[0]}`") from error
