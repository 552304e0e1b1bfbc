"""Options of a request: its fields beside the question itself, such as ``temperature`` and ``stop``."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from qfkit.protocol.dialects import Field, InferenceDialect
from qfkit.protocol.messages import Json
from qfkit.protocol.models import Model, by_name
from qfkit.testing.strategies.fields import LEFT_OUT, NEEDS, Spoiled, fields_of, one_at_random, spoiled, values
from qfkit.testing.strategies.invalid import Invalid

#: Whose bounds hold where nobody says which model is asked.
DEFAULT_MODEL = "ernie-3.5-8k"


def options(
    dialect: InferenceDialect = "text_generation",
    operation: str = "chat",
    *,
    model: str = DEFAULT_MODEL,
    only: tuple[str, ...] | None = None,
) -> SearchStrategy[Json]:
    """Options that the service takes, as keywords: ``client.chat(prompt, **options)``. Shrinks to ``{}``.

    ``stream`` is not among them: clients have a method for it.

    Args:
        dialect: whose.
        operation: ``chat``, ``embeddings`` …, a key of `qfkit.protocol.dialects.FIELDS` with the dialect.
        model: whose bounds hold, such as those of ``max_output_tokens``.
        only: names of options; None for all that the operation has.

    Raises:
        ValueError: there is no such operation or option.
    """
    rows = optional_fields(dialect, operation, known_model(model), only)
    return any_options(rows).map(consistent)


def invalid_options(
    dialect: InferenceDialect = "text_generation",
    operation: str = "chat",
    *,
    model: str = DEFAULT_MODEL,
    only: tuple[str, ...] | None = None,
) -> SearchStrategy[Invalid[Json]]:
    """Options of which one is wrong, each with the refusal that the service gives.

    Shrinks to that option alone, the first of the table: ``{"temperature": "0.5"}`` for a chat.

    Args:
        dialect: whose.
        operation: as in `options`.
        model: as in `options`.
        only: the options that may be wrong; None for all.

    Raises:
        ValueError: there is no such operation or option.
    """
    row = known_model(model)
    flaws = [flaw for field in optional_fields(dialect, operation, row, only) for flaw in spoiled(dialect, field)]
    if not flaws:
        raise ValueError(f"no option of {dialect} {operation} can be wrong: it has none")

    good = options(dialect, operation, model=model)

    def with_flaw(flaw: Spoiled) -> SearchStrategy[Invalid[Json]]:
        return st.builds(
            lambda others, wrong: Invalid(others | {flaw.field.name: wrong}, dialect, flaw.problem, flaw.why),
            good,
            flaw.values,
        )

    return one_at_random([with_flaw(flaw) for flaw in flaws])


def known_model(name: str) -> Model:
    """The row of a model.

    Raises:
        ValueError: the table has none.
    """
    found = by_name(name)
    if found is None:
        raise ValueError(f"the table has no model {name!r}; docs/models.md lists them")
    return found


def optional_fields(
    dialect: str, operation: str, model: Model | None, only: tuple[str, ...] | None = None
) -> list[Field]:
    """The rows of an operation that may be left out, the stream flag apart.

    Raises:
        ValueError: ``only`` names one that is not there.
    """
    rows = {
        row.name: row
        for row in fields_of(dialect, operation, model)
        if not row.required and row.name != "stream" and row.name not in LEFT_OUT
    }
    for name in only or ():
        if name not in rows:
            raise ValueError(f"{dialect} {operation} has no option {name!r}; it has {', '.join(rows)}")
    return list(rows.values()) if only is None else [rows[name] for name in only]


def any_options(rows: list[Field]) -> SearchStrategy[Json]:
    """Some of these options, a handful as a rule, each good by itself."""
    if not rows:
        return st.just({})
    pairs = st.one_of([st.tuples(st.just(row.name), values(row)) for row in rows])
    return st.lists(pairs, max_size=len(rows), unique_by=itemgetter(0)).map(dict)


def consistent(drawn: Json) -> dict[str, Any]:
    """Fields without those whose partner is missing, and with the least no more than the most."""
    kept = {name: value for name, value in drawn.items() if NEEDS.get(name, name) in drawn}
    if "min_output_tokens" in kept:
        kept["min_output_tokens"] = min(kept["min_output_tokens"], kept["max_output_tokens"])
    return kept
