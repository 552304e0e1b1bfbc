"""What an operation of the control API is: a row of a table, from which its route and its documentation are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from mock_server.faults.options import nearest
from mock_server.handle import AccountHandle
from mock_server.state import Account, State

#: Where the control API lives. The service has nothing under ``/__``.
PREFIX = "/__admin"


class ErrorDetail(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What went wrong, and what to do."""

    code: str
    message: str
    path: str | None = None


class ErrorBody(msgspec.Struct, kw_only=True):
    """Every answer with a status from 400 on: ``path`` is the place in the request, such as ``$.steps[0].reply``."""

    error: ErrorDetail


class ControlError(Exception):
    """An operation that cannot be done.

    Attributes:
        status: HTTP status, 400 to 501.
        code: for programs, one of `ERRORS`.
        path: the place in the request, None when it is no part of it.
        headers: of the answer.
    """

    def __init__(
        self, status: int, message: str, *, path: str | None = None, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = ERRORS[status][0]
        self.path = path
        self.headers = headers

    def body(self) -> ErrorBody:
        """The answer's body."""
        return ErrorBody(error=ErrorDetail(code=self.code, message=str(self), path=self.path))


#: Status -> code, and when it is answered.
ERRORS: dict[int, tuple[str, str]] = {
    400: ("bad_request", "The body, the query or a value in it is not as it should be; `path` says where."),
    401: ("unauthorized", "The server has a token, and the request has none or another."),
    403: ("forbidden", "The request comes from a web page, or under a name that is not loopback, and has no token."),
    404: ("not_found", "Nothing has that name."),
    405: ("method_not_allowed", "The path has other methods; `Allow` names them."),
    409: ("conflict", "Another account has that name or one of those keys."),
    500: ("qfkit_bug", "A bug in qfkit."),
    501: ("not_available", "An optional package is missing; the message names it."),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    Attributes:
        state: of the mock.
        url: its base URL, as the caller spells it.
        names: the parameters of the path.
        query, body: values of the operation's types; None where it has none.
    """

    state: State
    url: str
    names: dict[str, str]
    query: Any
    body: Any

    @property
    def owner(self) -> Account:
        """The account that the path names.

        Raises:
            UnknownAccount: there is none of that name.
        """
        return self.state.account(self.names["name"])

    @property
    def account(self) -> AccountHandle:
        """Its handle, as a test holds it."""
        return self.handle_of(self.owner)

    def handle_of(self, account: Account) -> AccountHandle:
        """The handle of an account."""
        return AccountHandle(account, self.state, self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of the table.

    Attributes:
        method, path: the path below `PREFIX`, its parameters in braces.
        view: does it; its name is the operation's, its docstring the documentation.
        tag: the group it stands in.
        query: a struct of its query parameters.
        body: the type of its body.
        answer: the type of its answer; None for an empty one.
        status: of its answer.
        media: content types beside JSON that the answer may have.
        errors: statuses from `ERRORS` that it may answer, beside those that every operation may.
        python: the same in Python, a dotted name below `mock_server`, None where Python needs none.
        open: needs no token.
        suffix: of its name, where several rows share a view.
    """

    method: str
    path: str
    view: Callable[[Call], Any]
    tag: str
    query: type[msgspec.Struct] | None = None
    body: Any = None
    answer: Any = None
    status: int = 200
    media: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    python: str | None = None
    open: bool = False
    suffix: str = ""

    @property
    def name(self) -> str:
        """Its name, for programs."""
        return self.view.__name__ + self.suffix


def decode(content: bytes, kind: Any) -> Any:
    """A request's body as a value of ``kind``.

    Raises:
        ControlError: it is not JSON, or not such a value; the message names the place and the nearest good key.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        raise refusal(error, kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ControlError(400, f"the body is not JSON: {error}", path="$") from error


def refusal(error: msgspec.ValidationError, kind: Any, *, known: tuple[str, ...] = ()) -> ControlError:
    """What `msgspec` says of a value, with the nearest good key where one is unknown."""
    problem, _, path = str(error).partition(" - at `")
    path = path.rstrip("`") or "$"
    if "unknown field" in problem:
        key = problem.split("`")[1]
        problem = f"{key!r} is not known here; {nearest(key, sorted({*known, *_keys(kind)}))}"
        path = f"{path}.{key}"
    return ControlError(400, f"{problem} (at {path})", path=path)


def _keys(kind: Any) -> Iterator[str]:
    """Every key that a value of ``kind`` may have, at any depth."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            yield field.encode_name
            yield from _keys(field.type)
    for part in get_args(kind):
        yield from _keys(part)
