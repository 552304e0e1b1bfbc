"""The errors of Qianfan: one table for all dialects, and what both ends of the wire do with it.

The rows stand in ``v1``, ``v2``, ``text_generation`` and ``auth`` (wire reference 5.1, 5.2, the tutorial's 6.1, and 2.1
with 2.2); ``kin`` relates the dialects. The mock scripts failures with
`translate` and writes them with `envelope`; the client reads them back with `classify`.

Two facts shape it. v1 reports its errors under HTTP 200, so an answer is judged by its body first and by its status
only when the body names no error (3.5). And a code may stand in several rows, told apart by status and text, so every
search returns rows in a fixed order, the typical one first.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypeVar

from qfkit.protocol.errors.auth import IAM_ERRORS, OAUTH_ERRORS
from qfkit.protocol.errors.kin import KIN, STATUS_CLASSES, STATUS_CODES, STATUSES, V1_CLASS_CODES
from qfkit.protocol.errors.spec import DIALECTS, KINDS, CodeRange, Dialect, ErrorSpec
from qfkit.protocol.errors.text_generation import TEXT_GENERATION_ERRORS
from qfkit.protocol.errors.v1 import V1_ERRORS, V1_RANGES
from qfkit.protocol.errors.v2 import V2_ERRORS

ERRORS: Final[tuple[ErrorSpec, ...]] = (
    *TEXT_GENERATION_ERRORS,
    *V1_ERRORS,
    *V2_ERRORS,
    *OAUTH_ERRORS,
    *IAM_ERRORS,
)
RANGES: Final[tuple[CodeRange, ...]] = V1_RANGES

Code: TypeAlias = int | str
_K = TypeVar("_K")
_Rows: TypeAlias = tuple[ErrorSpec, ...]


def _key_of(code: Code) -> Code:
    """A code as the indexes know it: digits are a number, and letter case does not matter."""
    if isinstance(code, int):
        return code
    text = code.strip()
    # Nothing longer than nine digits is a code, and int() refuses what is longer than a few thousand.
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else text.casefold()


def _index(keys: Callable[[ErrorSpec], _K | None]) -> dict[_K, _Rows]:
    index: dict[_K, _Rows] = {}
    for spec in ERRORS:
        if (key := keys(spec)) is not None:
            index[key] = (*index.get(key, ()), spec)
    return index


_ROWS: Final[dict[tuple[str, Code], _Rows]] = _index(lambda spec: (spec.dialect, _key_of(spec.code)))
_BY_CODE: Final = _index(lambda spec: _key_of(spec.code))
_BY_NAME: Final = _index(lambda spec: spec.name.casefold() if spec.name else None)


def _in_text_generation(spec: ErrorSpec) -> ErrorSpec:
    # No known SDK speaks this dialect, so the retry sets of v1 say nothing about it; and its body has no id.
    status = KINDS[spec.kind].status
    return replace(
        spec,
        dialect="text_generation",
        status=status,
        has_id=False,
        retried_by=(),
        guess=(*spec.guess, "status"),
    )


#: text_generation carries v1's codes under their own numbers, with the HTTP status of their kind.
_BORROWED: Final[dict[Code, ErrorSpec]] = {spec.code: _in_text_generation(spec) for spec in V1_ERRORS}


#: Clients of `RETRIERS` that go by the HTTP status, where they speak the dialect.
_STATUS_RETRIERS: Final = {"v1": ("javascript",), "v2": ("javascript", "openai-python")}


class UnknownErrorCode(ValueError):
    """A code that no table has and that is no HTTP status from 400 to 599.

    Attributes:
        code: what was asked for.
        nearest: the most similar known codes, best first.
    """

    def __init__(self, code: Code) -> None:
        super().__init__(code)
        self.code = code
        self.nearest = _nearest(code)

    def __str__(self) -> str:
        known = ", ".join(map(str, self.nearest))
        note = _range_note(self.code)
        return (
            f"{self.code!r} is neither a Qianfan error code nor an HTTP status from 400 to 599"
            f"{f' ({note})' if note else ''}; the nearest known codes are {known}. `qfkit errors` lists them all."
        )


def find(code: Code) -> tuple[ErrorSpec, ...]:
    """Every row with this code, or with this name in the Python SDK, over all dialects; empty when there is none.

    Letter case does not matter, and ``"18"`` is 18.
    """
    key = _key_of(code)
    return _BY_CODE.get(key, ()) or (_BY_NAME.get(key, ()) if isinstance(key, str) else ())


def with_status(status: int) -> tuple[ErrorSpec, ...]:
    """Every row that comes with this HTTP status."""
    return tuple(spec for spec in ERRORS if spec.status == status)


def lookup(dialect: str, code: Code) -> ErrorSpec | None:
    """The row of a dialect for a code, the typical one where there are several; None when there is none."""
    rows = _ROWS.get((dialect, _key_of(code)))
    return rows[0] if rows else None


def is_error_status(code: Code) -> bool:
    """Whether this is an HTTP status that reports an error (400-599)."""
    key = _key_of(code)
    return isinstance(key, int) and 400 <= key <= 599


def translate(code: Code, dialect: str) -> ErrorSpec:
    """What a scripted failure means in a dialect.

    A code of that dialect is itself. An HTTP status is the dialect's typical error under that status, made up where it
    has none. A code of another dialect is its kin (`errors_kin`), except that text_generation keeps v1's numbers and
    texts and gives them the HTTP status of their kind. Between the three inference dialects a translation keeps what a
    client should do: ``retryable`` of the result is that of the code given.

    Args:
        code: a code of any dialect, the Python SDK's name of one, or an HTTP status from 400 to 599.
        dialect: where the failure is to be played.

    Raises:
        UnknownErrorCode: ``code`` is none of these; names the nearest that are.
        ValueError: there is no such dialect.
    """
    known = _dialect(dialect)
    if own := lookup(dialect, code):
        return own
    if is_error_status(code):
        return _for_status(int(code), known)
    rows = find(code)
    if not rows:
        raise UnknownErrorCode(code)
    spec = next((row for row in rows if row.dialect == dialect), rows[0])
    if spec.dialect == dialect:
        return spec
    if dialect == "text_generation" and spec.dialect == "v1":
        return _BORROWED[spec.code]
    if dialect in {"v1", "v2"}:
        v1_code, v2_code = KIN[spec.kind]
        return _ROWS[dialect, _key_of(v1_code if dialect == "v1" else v2_code)][0]
    same_kind = (row for row in ERRORS if row.kind == spec.kind and row is lookup(dialect, row.code))
    return next(same_kind, None) or _for_status(KINDS[spec.kind].status, known)


def envelope(spec: ErrorSpec, *, message: str | None = None, request_id: str | None = None) -> dict[str, Any]:
    """The JSON body of an error, in its dialect's shape and key order.

    Send it on one line: the Python SDK parses the first line only when it streams (wire reference, fact 4).

    Args:
        spec: the error.
        message: replaces the row's text, for texts that name a parameter or a limit.
        request_id: ``id`` of v2 and of v1's model service (``as-`` and ten characters), ``requestId`` of iam (a UUID);
            left out where the dialect has none, or when None.
    """
    text = spec.message if message is None else message
    identity = {} if request_id is None else {"id": request_id}
    match spec.dialect:
        case "v1" | "text_generation":
            return {"error_code": spec.code, "error_msg": text, **(identity if spec.has_id else {})}
        case "v2":
            return {"error": {"code": spec.code, "message": text, "type": spec.type}, **identity}
        case "oauth":
            return {"error_description": text, "error": spec.code}
        case "iam":
            return {"code": spec.code, "message": text, **({"requestId": request_id} if identity else {})}


def classify(dialect: str, status: int, body: Mapping[str, Any] | None) -> ErrorSpec | None:
    """Which error an answer is, as its client sees it; None when it is not an error.

    The body decides, since v1 reports errors under HTTP 200. A known code gives its row, with ``status`` as it came;
    where several rows share the code, the one with the same status and text. The row of another dialect is accepted
    where a gateway mixed them. A body that names no error falls back to the status, and a code that no table has gives
    a spec made up from the status that says so.

    Args:
        dialect: what the client spoke.
        status: the HTTP status of the answer.
        body: its JSON object, None where the body was empty or not JSON.

    Raises:
        ValueError: there is no such dialect.
    """
    found = _read(body, status)
    if found is None and status < 400:
        return None
    known = _dialect(dialect)
    if found is None:
        return _made_up(status, known)
    if found.code is not None and (rows := _rows_for(dialect, found.code)):
        row = max(rows, key=lambda spec: (spec.status == status, found.message in (spec.message, *spec.other_messages)))
        return _at(row, status)
    return _unknown(known, status, found)


def _dialect(name: str) -> Dialect:
    if (dialect := next((known for known in DIALECTS if known == name), None)) is None:
        raise ValueError(f"there is no dialect {name!r}; choose one of {', '.join(DIALECTS)}")
    return dialect


@dataclass(frozen=True, slots=True)
class _Said:
    """What a body says of an error: ``code`` is None where it reports one without naming it."""

    code: Code | None
    message: str


def _read(body: Mapping[str, Any] | None, status: int) -> _Said | None:
    """The error in a JSON body, or None when it reports none.

    Reads every dialect's shape wherever it comes, since gateways mix them, and ``{"code", "msg"}``, which one document
    page shows (3.5). ``error_code`` 0 is the SDK's NoError. Below 400 a bare ``code`` counts only if the tables know
    it: other JSON has codes too.
    """
    if body is None:
        return None
    if (code := _code(body.get("error_code"))) is not None:
        return _Said(code, _text(body.get("error_msg")))
    error = body.get("error")
    if isinstance(error, Mapping) and error:
        return _Said(_code(error.get("code")), _text(error.get("message")))
    if isinstance(error, str) and error:
        return _Said(_code(error), _text(body.get("error_description")))
    code = _code(body.get("code"))
    if code is not None and ("message" in body or "msg" in body) and (status >= 400 or _key_of(code) in _BY_CODE):
        return _Said(code, _text(body.get("message")) or _text(body.get("msg")))
    return None


def _rows_for(dialect: str, code: Code) -> tuple[ErrorSpec, ...]:
    key = _key_of(code)
    if own := _ROWS.get((dialect, key)):
        return own
    if dialect == "text_generation" and key in _BORROWED:
        return (_BORROWED[key],)
    return _BY_CODE.get(key, ())


def _for_status(status: int, dialect: Dialect) -> ErrorSpec:
    code = STATUS_CODES[dialect].get(status)
    if code is None and dialect == "v1":
        code = V1_CLASS_CODES[status // 100]
    if code is None:
        return _made_up(status, dialect)
    rows = _ROWS[dialect, _key_of(code)]
    row = next((row for row in rows if row.status == status), rows[0])
    return row if row.status == status else replace(_at(row, status), guess=(*row.guess, "status"))


def _at(row: ErrorSpec, status: int) -> ErrorSpec:
    """A row that came, or is to be played, under another HTTP status than its own."""
    if row.status == status:
        return row
    return replace(row, status=status, retried_by=_retried_by_status(status, row.dialect))


def _retried_by_status(status: int, dialect: str) -> tuple[str, ...]:
    # The Python and Go SDKs look at no code once the status is not 2xx (6).
    retried = status in {408, 409, 429} or status >= 500
    return _STATUS_RETRIERS.get(dialect, ()) if retried else ()


def _made_up(status: int, dialect: Dialect) -> ErrorSpec:
    """A spec for a status alone: what the mock sends where the dialect has no row, what the client makes of it."""
    kind, phrase = STATUSES.get(status, (STATUS_CLASSES.get(status // 100, "unknown"), f"HTTP {status}"))
    return ErrorSpec(
        dialect=dialect,
        code=_status_code(status, phrase, dialect),
        status=status,
        message=phrase,
        meaning=f"HTTP {status} without a code that the tables know: {KINDS[kind].summary}",
        remedy=KINDS[kind].remedy,
        retryable=KINDS[kind].retryable,
        kind=kind,
        type=_status_type(status) if dialect == "v2" else None,
        retried_by=_retried_by_status(status, dialect),
        evidence="the HTTP status alone",
        guess=("code", "message", "type"),
    )


def _status_code(status: int, phrase: str, dialect: Dialect) -> Code:
    if dialect in {"text_generation", "v1"}:
        return status
    return phrase.replace(" ", "") if dialect == "iam" else phrase.replace(" ", "_").lower()


def _status_type(status: int) -> str:
    if status == 429:
        return "rate_limit_exceeded"
    if status == 403:
        return "access_denied"
    return "Internal_error" if status >= 500 else "invalid_request_error"


def _unknown(dialect: Dialect, status: int, found: _Said) -> ErrorSpec:
    base = _made_up(status, dialect)
    message = found.message or base.message
    if found.code is None or found.code == base.code:
        return replace(base, message=message)
    note, kind = _range_note(found.code), base.kind
    return replace(
        base,
        code=found.code,
        message=message,
        meaning=f"The code {found.code!r} is not in the tables{f' ({note})' if note else ''}. {KINDS[kind].summary}",
        type=None,
        evidence="the answer itself",
        guess=("meaning", "remedy", "retryable", "kind"),
    )


def _range_note(code: Code) -> str:
    key = _key_of(code)
    return next((known.note for known in RANGES if isinstance(key, int) and key in known), "")


def _nearest(code: Code, count: int = 3) -> tuple[Code, ...]:
    key = _key_of(code)
    if isinstance(key, str):
        spelled = {str(known): spec for known, rows in (*_BY_CODE.items(), *_BY_NAME.items()) for spec in rows[:1]}
        close = difflib.get_close_matches(key, spelled, n=count, cutoff=0.4) or ["internal_error", "invalid_argument"]
        return tuple(dict.fromkeys(spelled[name].code for name in close))
    numbers = [known for known in _BY_CODE if isinstance(known, int)]
    # A slip of the finger (a digit too many, too few, swapped) first; then whatever is next on the number line.
    similar = difflib.get_close_matches(str(key), map(str, numbers), n=len(numbers), cutoff=0.75)
    numbers.sort(key=lambda known: (str(known) not in similar, abs(known - key)))
    return tuple(numbers[:count])


def _code(value: object) -> Code | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    if isinstance(value, str):
        key = _key_of(value)
        value = key if isinstance(key, int) else value.strip()
    return value or None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
