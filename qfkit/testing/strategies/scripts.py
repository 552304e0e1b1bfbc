"""What requests may meet: errors of the service, faults of the network, quotas. Made of the mock's own tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from operator import itemgetter
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from mock_server.faults.options import OptionError, Options, Rule
from mock_server.faults.stream import Delivery
from mock_server.faults.whole import FAULTS, fault_of
from mock_server.quota.limits import RULES, Limits
from mock_server.quota.windows import WINDOWS
from mock_server.scenario import stream
from qfkit.protocol.dialects import InferenceDialect
from qfkit.protocol.errors import ERRORS, translate
from qfkit.protocol.errors.kin import STATUSES
from qfkit.testing.strategies.conversations import check_dialect
from qfkit.testing.strategies.steps import Script, Step, script_of
from qfkit.testing.strategies.texts import texts

#: Characters, bytes and events that an option may ask for, where the table leaves it open.
_MUCH: Final = 64
#: Bytes of a large body: the least that the mock's table allows, and a little more.
_LARGE: Final = 20_000


# Errors


def error_codes(dialect: InferenceDialect = "text_generation", *, retryable: bool | None = None) -> list[int | str]:
    """The codes that `account.fail` may be given for this dialect: its own table's, then HTTP statuses.

    The most typical come first: too many requests, then what else is retryable, then the others.

    Args:
        dialect: whose.
        retryable: only those that another attempt may cure, or only those that none can; None for both.

    Raises:
        ValueError: there is no such dialect.
    """
    check_dialect(dialect)
    codes = dict.fromkeys([*(row.code for row in ERRORS if row.dialect == dialect), *STATUSES])
    typical = translate(429, dialect).code
    rows = {code: translate(code, dialect) for code in codes}
    kept = [code for code in codes if retryable is None or rows[code].retryable == retryable]
    return sorted(kept, key=lambda code: (code != typical, not rows[code].retryable))


def errors(
    dialect: InferenceDialect = "text_generation",
    *,
    retryable: bool | None = None,
    codes: Collection[int | str] | None = None,
    max_wait: float = 3.0,
) -> SearchStrategy[Step]:
    """One refusal by the service. Shrinks to that of too many requests, or to the first of ``codes``.

    Args:
        dialect: whose codes.
        retryable: as in `error_codes`.
        codes: those that may come, instead of all.
        max_wait: seconds, the longest ``Retry-After`` beside an error that is worth another attempt.
    """
    chosen = error_codes(dialect, retryable=retryable) if codes is None else list(codes)
    waits = st.none() | st.sampled_from([0, 1, 2]).filter(lambda wait: wait <= max_wait) | st.floats(0, max_wait)

    def made(code: int | str, wait: float | None) -> Step:
        asks = wait is not None and translate(code, dialect).retryable
        return Step("fail", code, {"retry_after": wait} if asks else {})

    # A wait is drawn for every code: Hypothesis takes for simpler what takes fewer draws.
    return st.builds(made, st.sampled_from(chosen), waits)


def error_scripts(
    dialect: InferenceDialect = "text_generation",
    *,
    retryable: bool | None = None,
    codes: Collection[int | str] | None = None,
    max_failures: int = 4,
    answered: bool | None = None,
    max_wait: float = 3.0,
) -> SearchStrategy[Script]:
    """Some refusals, and perhaps an answer after them: ``account.fail(18, times=2).then.reply('ok')``.

    Shrinks to one refusal for too many requests, without an answer unless one is asked for.

    Args:
        dialect: whose codes.
        retryable: as in `error_codes`.
        codes: those that may come, instead of all.
        max_failures: most requests that are refused, from 1.
        answered: whether an answer comes after them; None for either.
        max_wait: seconds, the longest ``Retry-After``.
    """
    failures = st.lists(
        errors(dialect, retryable=retryable, codes=codes, max_wait=max_wait), min_size=1, max_size=max_failures
    )
    return st.builds(lambda steps, last: script_of([*steps, *last]), failures, _last(answered))


def replies() -> SearchStrategy[Step]:
    """One good answer, whole or in pieces. Shrinks to ``account.reply('0')``."""
    return texts().map(lambda text: Step("reply", text)) | pieces().map(lambda said: Step("stream", said))


def pieces(*, max_size: int = 4) -> SearchStrategy[list[str]]:
    """The pieces of a streamed answer, none of them empty. Shrinks to ``["0"]``."""
    return st.lists(texts(max_size=12, blank=True), min_size=1, max_size=max_size)


def _last(answered: bool | None) -> SearchStrategy[list[Step]]:
    if answered is False:
        return st.just([])
    one = replies().map(lambda step: [step])
    return one if answered else st.just([]) | one


# Faults


@dataclass(frozen=True, slots=True)
class StreamFault:
    """One thing that may happen to a stream.

    Attributes:
        options: those that it takes, drawn together, for a stream of so many pieces.
        hangs: only a time-out of the client ends it.
    """

    options: Callable[[int, float, str], SearchStrategy[dict[str, Any]]]
    hangs: bool = False


def _dicts(**drawn: SearchStrategy[Any]) -> SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(drawn)


def _codes(dialect: str) -> SearchStrategy[int | str]:
    return st.sampled_from(error_codes(dialect))  # type: ignore[arg-type]


#: Positions of events are those of a stream of n pieces: the pieces are 0 to n - 1, the end event is n.
STREAM_FAULTS: Final[Mapping[str, StreamFault]] = {
    "cut": StreamFault(lambda n, _wait, _dialect: _dicts(cut_after=st.integers(0, n), cut=_value("cut"))),
    "error": StreamFault(
        lambda n, _wait, dialect: st.fixed_dictionaries(
            {"error_after": st.integers(0, n), "error": _codes(dialect)},
            optional={"error_form": _value("error_form"), "error_ends": _value("error_ends")},
        )
    ),
    "stall": StreamFault(lambda n, wait, _dialect: _dicts(stall_after=st.integers(0, n), stall=st.floats(0, wait))),
    "silence": StreamFault(lambda n, _wait, _dialect: _dicts(stall_after=st.integers(0, n)), hangs=True),
    "malformed": StreamFault(lambda n, _wait, _dialect: _dicts(malformed_at=st.integers(0, n))),
    "truncated": StreamFault(lambda n, _wait, _dialect: _dicts(truncated_at=st.integers(0, n))),
    "empty": StreamFault(lambda n, _wait, _dialect: _dicts(empty_at=st.integers(0, n))),
    "duplicate": StreamFault(lambda n, _wait, _dialect: _dicts(duplicate=st.integers(0, n - 1))),
    "swap": StreamFault(lambda n, _wait, _dialect: _dicts(swap=st.integers(0, n - 1))),
    "no-end-event": StreamFault(lambda _n, _wait, _dialect: _dicts(end_event=st.just(False))),
    "no-end-marker": StreamFault(lambda _n, _wait, _dialect: _dicts(end_marker=st.just(False))),
    "no-last-newline": StreamFault(lambda _n, _wait, _dialect: _dicts(final_newline=st.just(False))),
    "other-type": StreamFault(
        lambda _n, _wait, _dialect: _dicts(
            content_type=st.sampled_from([None, "application/json", "text/plain", "text/event-stream; charset=gbk"])
        )
    ),
}

#: Options of a stream that no fault has and `harmless_options` leaves out, and why.
NOT_DRAWN: Final[Mapping[str, str]] = {
    "chunk": "cuts a text, and the pieces are cut already",
    "error_message": "words of the user's own",
    "timing": "needs to be in order of time; ttft and interval say as much",
    "tokens_per_second": "another way to say interval",
    "jitter": "interval by itself is as hard for a client",
    "spread": "belongs to jitter",
    "seed": "belongs to jitter",
}


def harmless_options(
    only: Collection[str] | None = None, *, max_seconds: float = 0.0
) -> SearchStrategy[dict[str, Any]]:
    """Options of a stream that change how it is written and nothing of what it says. Shrinks to none.

    Args:
        only: names of those that may come; None for all.
        max_seconds: the longest wait.
    """
    groups = [
        name
        for name in ("newline", "bom", "comment_every", "comment", "early_headers")
        + (("ttft", "interval", "keep_alive") if max_seconds else ())
        if only is None or name in only
    ]
    drawn = st.fixed_dictionaries({}, optional={name: _value(name, max_seconds) for name in groups})
    if only is not None and "writes" not in only:
        return drawn
    gap = {"write_interval": _value("write_interval", max_seconds / 100)} if max_seconds else {}
    split = st.sampled_from(["byte", "byte-chunks", "inside-characters", "inside-chunk-headers"])
    writes: SearchStrategy[dict[str, Any]] = (
        st.just({})
        | st.just({"writes": "one-segment"})
        | _dicts(events_per_write=st.integers(2, 4))
        | st.fixed_dictionaries({"writes": split}, optional=gap)
    )
    return st.builds(lambda how, written: how | written, drawn, writes)


def fault_scripts(
    dialect: InferenceDialect = "text_generation",
    *,
    only: Collection[str] | None = None,
    max_faults: int = 2,
    max_seconds: float = 0.02,
    hangs: bool = False,
    answered: bool | None = None,
) -> SearchStrategy[Script]:
    """Some broken answers, and perhaps a good one after them: ``account.fault('reset').then.reply('ok')``.

    Shrinks to ``account.fault('close')``, or to the first of ``only``.

    Args:
        dialect: whose codes an error in the middle of a stream has.
        only: kinds of faults: of whole answers (``close``, ``reset``, ``html`` …, docs/faults.md) and of streams
            (``cut``, ``error``, ``stall``, ``malformed`` …, the table `STREAM_FAULTS`); None for all.
        max_faults: most of them.
        max_seconds: the longest wait, in real time; 0 for none.
        hangs: faults may come that only a time-out of the client ends.
        answered: whether a good answer comes last; None for either.

    Raises:
        ValueError: there is no such kind.
    """
    one = faults(dialect, only=only, max_seconds=max_seconds, hangs=hangs)
    broken = st.lists(one, min_size=1, max_size=max_faults)
    return st.builds(lambda steps, last: script_of([*steps, *last]), broken, _last(answered))


def faults(
    dialect: InferenceDialect = "text_generation",
    *,
    only: Collection[str] | None = None,
    max_seconds: float = 0.02,
    hangs: bool = False,
) -> SearchStrategy[Step]:
    """One broken answer. Arguments as `fault_scripts`."""
    check_dialect(dialect)
    kinds = [*FAULTS, *STREAM_FAULTS]
    if unknown := [name for name in only or () if name not in kinds]:
        raise ValueError(f"there is no fault {unknown[0]!r}; there are {', '.join(kinds)}")
    found: list[SearchStrategy[Step]] = []
    for kind in only if only is not None else kinds:
        if kind in FAULTS and (hangs or kind != "hang" or max_seconds):
            found.append(_whole(kind, max_seconds, hangs=hangs))
        elif kind in STREAM_FAULTS and (hangs or not STREAM_FAULTS[kind].hangs):
            found.append(_streamed(STREAM_FAULTS[kind], dialect, max_seconds))
    if not found:
        raise ValueError("these faults never end by themselves: allow them with hangs=True")
    return st.one_of(found)


def _streamed(fault: StreamFault, dialect: str, max_seconds: float) -> SearchStrategy[Step]:
    def with_pieces(said: list[str]) -> SearchStrategy[Step]:
        drawn = st.builds(
            lambda bad, how: how | bad, fault.options(len(said), max_seconds, dialect), harmless_options()
        )
        return drawn.filter(lambda options: _taken(stream, said, options)).map(
            lambda options: Step("stream", said, options)
        )

    return pieces().flatmap(with_pieces)


#: Kind of a whole fault -> options that would make it hang.
_HANGING: Final[Mapping[str, Callable[[Mapping[str, Any]], bool]]] = {
    "hang": lambda options: options.get("open_for") is None,
    # Bytes that are announced and never come, on a connection that stays open.
    "wrong-length": lambda options: options.get("then", "close") != "close",
}
#: Kind of a whole fault -> options that are always given: their defaults take long, or are large.
_ALWAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "hang": ("open_for",),
    "delay": ("delay",),
    "slow-headers": ("interval",),
    "slow-body": ("interval",),
    "large-body": ("size",),
}


def _whole(kind: str, max_seconds: float, *, hangs: bool) -> SearchStrategy[Step]:
    fault = FAULTS[kind]
    always = _ALWAYS.get(kind, ())
    drawn = {each.name: _value(each.name, max_seconds, of=fault) for each in fields(fault)}
    if kind == "hang" and hangs:
        drawn["open_for"] = st.none() | drawn["open_for"]
    options = st.fixed_dictionaries(
        {name: drawn[name] for name in always},
        optional={name: value for name, value in drawn.items() if name not in always},
    )
    ends = _HANGING.get(kind)

    def fits(given: dict[str, Any]) -> bool:
        return (hangs or ends is None or not ends(given)) and _taken(fault_of, kind, given)

    return options.filter(fits).map(lambda given: Step("fault", kind, given))


def _taken(make: Callable[[Any, Mapping[str, Any]], object], said: object, options: Mapping[str, Any]) -> bool:
    """The mock takes these options together."""
    try:
        make(said, options)
    except OptionError:
        return False
    return True


def _value(name: str, max_seconds: float = 0.0, *, of: type[Options] = Delivery) -> SearchStrategy[Any]:
    """The values of an option, from the mock's own rule for it."""
    each = next(each for each in fields(of) if each.name == name)
    rule: Rule = each.metadata["rule"]
    schema = rule.schema
    if options := schema.get("anyOf"):
        schema = options[0]
    if "in seconds" in rule.says:
        # Between single bytes a wait counts hundreds of times.
        longest = max_seconds / 100 if name in {"interval", "write_interval"} and of is not Delivery else max_seconds
        low = float(schema.get("minimum", 0.0))
        return st.floats(low, max(low, longest))
    if "enum" in schema:
        return st.sampled_from([value for value in schema["enum"] if value not in {"lf", "crlf", "cr"}])
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer":
            low = int(schema.get("minimum", -_MUCH))
            high = int(schema.get("maximum", low + _MUCH))
            return st.integers(low, min(high, max(_LARGE, low + _MUCH)) if name == "size" else min(high, low + 600))
        case "string":
            latin = "Latin-1" in rule.says
            chars = st.characters(codec="latin-1" if latin else "utf-8", exclude_characters="\r\n\0")
            return st.text(chars, max_size=12)
    raise ValueError(f"no strategy for the option {name!r} with {dict(rule.schema)}")


# Quotas

_Q = TypeVar("_Q")

#: A request has many tokens.
_WEIGHTS: Final[Mapping[str, int]] = {"tpm": 100}


@dataclass(frozen=True)
class Quota:
    """What an account may ask, as a value that can be put on it.

    Attributes:
        limits: those that are set, and the window.
    """

    limits: Limits

    def __repr__(self) -> str:
        return f"account.quota({', '.join(f'{name}={value!r}' for name, value in self._given())})"

    def _given(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in self.limits.to_dict().items() if (name, value) != ("window", "fixed"))

    def apply(self, account: _Q) -> _Q:
        """Limit an account so, and return it."""
        account.quota(**self.limits.to_dict())  # type: ignore[attr-defined]
        return account


def quotas(
    *, only: Collection[str] | None = None, low: int = 1, high: int = 20, windows: Collection[str] = tuple(WINDOWS)
) -> SearchStrategy[Quota]:
    """One limit or more: ``account.quota(qps=1)``. Shrinks to one limit, at ``low``.

    Args:
        only: kinds of limits, of ``qps``, ``rpm``, ``tpm``, ``daily``, ``total``, ``concurrency``; None for all.
        low: the least limit, of requests and answers; one of tokens is a hundred times that. 0 lets nothing in.
        high: the greatest, likewise.
        windows: how a second and a minute may be counted.

    Raises:
        ValueError: there is no such kind of limit.
    """
    kinds = sorted((rule.field for rule in RULES), key=lambda name: name != "qps")
    if unknown := [name for name in only or () if name not in kinds]:
        raise ValueError(f"there is no limit {unknown[0]!r}; there are {', '.join(kinds)}")
    chosen = kinds if only is None else list(only)
    pairs = [st.tuples(st.just(name), st.integers(low, high).map(_WEIGHTS.get(name, 1).__mul__)) for name in chosen]
    drawn = st.lists(st.one_of(pairs), min_size=1, max_size=3, unique_by=itemgetter(0)).map(dict)
    return st.builds(
        lambda limits, window: Quota(Limits(**limits, window=window)), drawn, st.sampled_from(list(windows))
    )
