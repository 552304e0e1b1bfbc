"""A mistake in a configuration, and the line that tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

#: The keys and positions that lead to a value: ``("accounts", 0, "script", 1, "times")``.
Path: TypeAlias = tuple[str | int, ...]

#: Keys that need no quotes in a path, and texts that need none in YAML.
_WORD = re.compile(r"[\w-]+(?:\.[\w-]+)*")
_PLAIN = re.compile(r"[^\W\d_][\w\-./]*|\$\{\w+\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        message: what.
        path: where among the settings; empty for the whole file.
        hint: what was meant, or what to do; a sentence without its full stop.
        example: how it would be right, as YAML on one line.
        of_key: it is the last key of the path that is wrong, not the value under it.
        line, column: where in the file, from 1; None where there is no file.
    """

    message: str
    path: Path = ()
    hint: str = ""
    example: str = ""
    of_key: bool = False
    line: int | None = None
    column: int | None = None

    def render(self, source: str) -> str:
        """``file:line:column: what is wrong (at accounts[0].name); hint. Example: name: shop``."""
        place = source if self.line is None else f"{source}:{self.line}:{self.column}"
        where = f" (at {written(self.path)})" if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        end = "" if (self.hint or self.message).endswith((".", "?")) else "."
        example = f"{end} Example: {self.example}" if self.example else ""
        return f"{place}: {self.message}{where}{hint}{example}".replace("\n", "\\n")

    def to_dict(self) -> dict[str, Any]:
        """The problem as JSON-ready data; what is not known is left out."""
        data = {
            "line": self.line,
            "column": self.column,
            "path": written(self.path),
            "message": self.message,
            "hint": self.hint,
            "example": self.example,
        }
        return {name: value for name, value in data.items() if value}


def written(path: Path) -> str:
    """``accounts[0].script[1].times``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{_key(step)}" for step in path)
    return text.removeprefix(".")


def _key(step: str) -> str:
    """A key, in quotes if it could not be told from the rest of the line."""
    return step if _WORD.fullmatch(step) else json.dumps(step, ensure_ascii=False)


def near(name: object, names: Iterable[object]) -> str:
    """``did you mean 'times'?`` for a slip of the pen, else the empty text."""
    spelled = {str(each).casefold(): str(each) for each in names}
    found = get_close_matches(str(name).casefold(), spelled, n=1)
    return f"did you mean {spelled[found[0]]!r}?" if found else ""


def listed(names: Sequence[object], most: int = 12) -> str:
    """Names in a row; of very many, the first ones."""
    shown = ", ".join(str(each) for each in names[:most])
    return shown + (", …" if len(names) > most else "")


def example_of(key: str, value: Any) -> str:
    """A key and its value as YAML on one line: JSON is YAML, and so no emitter is needed here."""
    plain = isinstance(value, str) and _PLAIN.fullmatch(value)
    return f"{key}: {value if plain else json.dumps(value, ensure_ascii=False)}"
