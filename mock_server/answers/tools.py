"""A call of a tool that the request declares, with arguments that fit its schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mock_server.answers.schema import Maker, Unmet
from mock_server.answers.source import Source, SourceError, Spoken
from mock_server.faults.options import nearest

if TYPE_CHECKING:
    from mock_server.matching.question import Question


@dataclass(frozen=True, slots=True)
class CallTool(Source):
    """Calls a declared tool: v1 ``functions``, v2 ``tools``.

    A request that declares none is answered with a text, and the journal says why.

    Attributes:
        name: of the tool; None for the one that ``tool_choice`` names, or the first.
        arguments: those of the call; None makes them up, the same for the same seed and question.
    """

    name: str | None = None
    arguments: Mapping[str, Any] | None = None

    def speak(self, question: Question, turn: int) -> Spoken:  # noqa: ARG002 - what every source is given
        """See `Source.speak`."""
        declared = _declared(question)
        if not declared:
            return Spoken(notes=("the request declares no tool to call: answered with a text",))
        name = self.name or _chosen(question) or next(iter(declared))
        if name not in declared:
            raise SourceError(f"the request declares no tool {name!r}; {nearest(name, list(declared))}")
        if self.arguments is not None:
            return _call(name, dict(self.arguments))
        schema = declared[name]
        maker = Maker(schema, question.random)
        try:
            arguments = maker.make({"type": "object", **schema} if schema else {"type": "object"}, name)
        except Unmet as error:
            raise SourceError(f"no arguments can be made up for the tool {name!r}: {error}; give arguments=") from error
        notes = tuple(
            f"the schema of {name!r} has {keyword!r}, which made-up arguments may not fit: give arguments="
            for keyword in sorted(maker.passed_over)
        )
        return _call(name, arguments, notes)

    def describe(self) -> str:
        """A few words for the journal."""
        return f"call tool {self.name or 'that is declared'}"


def _call(name: str, arguments: dict[str, Any], notes: tuple[str, ...] = ()) -> Spoken:
    return Spoken(text="", options={"tool_calls": [{"name": name, "arguments": arguments}]}, notes=notes)


def _declared(question: Question) -> dict[str, dict[str, Any]]:
    """Name of each declared tool -> the schema of its arguments."""
    given = [*(question.json.get("functions") or ())]
    given += [tool.get("function") or {} for tool in question.json.get("tools") or () if isinstance(tool, Mapping)]
    return {str(each["name"]): dict(each.get("parameters") or {}) for each in given if "name" in each}


def _chosen(question: Question) -> str | None:
    choice = question.json.get("tool_choice")
    function = choice.get("function", choice) if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None
