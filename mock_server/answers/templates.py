"""Answers written as Jinja templates, which may look at the question and do nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mock_server.answers.source import Source, SourceError, Spoken
from mock_server.faults.options import OptionError

if TYPE_CHECKING:
    from jinja2 import Template as Compiled

    from mock_server.matching.question import Question

#: The longest answer that a template may write, in characters.
MOST = 1_048_576

#: What a template sees beside ``q``: attributes of the question, under their own names.
SHORT = ("text", "model", "dialect", "operation", "stream", "number", "attempt", "state", "seed", "random")


#: Methods of texts that make as long a text as they are told.
_PADDING = frozenset({"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"})


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox: nothing can be changed, no private name be read, no loop be long.

    Attributes:
        intercepted_binops: powers and products of texts could fill the memory in one step.
    """

    intercepted_binops = frozenset({"**", "*", "%"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether ``attr`` may be read; methods that pad a text to any width may not."""
        return attr not in _PADDING and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """``left * right``, of numbers that stay small."""
        if operator == "**" or not all(isinstance(value, (int, float)) for value in (left, right)):
            raise SourceError(f"{left!r:.20} {operator} {right!r:.20}: a template may reckon with numbers only")
        return super().call_binop(context, operator, left, right)


_ENVIRONMENT = _Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
_ENVIRONMENT.globals.pop("lipsum")
for _name in ("center", "format", "indent", "random"):  # they pad to any width; `random` follows no seed
    del _ENVIRONMENT.filters[_name]

#: Numbers that one `range` of a template may have.
_LONGEST_RANGE = 1000


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > _LONGEST_RANGE:
        raise SourceError(f"range{bounds} has {len(found)} numbers; {_LONGEST_RANGE} are the most")
    return found


_ENVIRONMENT.globals["range"] = _range


@lru_cache(maxsize=1024)
def _compiled(source: str) -> Compiled:
    return _ENVIRONMENT.from_string(source)


@dataclass(frozen=True, slots=True)
class Template(Source):
    """A Jinja template over the question; see `SHORT` and ``q``, which is the whole `Question`.

    Raises:
        OptionError: it is no template; the message has the line.
    """

    source: str

    def __post_init__(self) -> None:
        try:
            _compiled(self.source)
        except TemplateSyntaxError as error:
            line = self.source.splitlines()[error.lineno - 1].strip()
            raise OptionError(
                "template", f"template, line {error.lineno}: {error.message} (in {line[:60]!r})"
            ) from error

    @property
    def blocking(self) -> bool:
        """Loops may take their time."""
        return "{%" in self.source

    def speak(self, question: Question, turn: int) -> Spoken:
        """See `Source.speak`."""
        names = {name: getattr(question, name) for name in SHORT} | {"q": question, "turn": turn + 1}
        try:
            return Spoken(text="".join(_bounded(_compiled(self.source).generate(names))))
        except (SourceError, *_MISTAKES) as error:
            raise SourceError(f"template{_line_of(error)}: {error}. It may use q, turn, {', '.join(SHORT)}") from error

    def describe(self) -> str:
        """A few words for the journal."""
        return f"template {self.source[:30]!r}" + ("…" if len(self.source) > 30 else "")


#: What a template can do wrong while it writes.
_MISTAKES = (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError)


def _bounded(pieces: Iterator[str]) -> Iterator[str]:
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > MOST:
            raise SourceError(f"it writes more than {MOST} characters")
        yield piece


def _line_of(error: BaseException) -> str:
    """``, line 3`` of the template, where the traceback knows it."""
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return f", line {line}" if line else ""
