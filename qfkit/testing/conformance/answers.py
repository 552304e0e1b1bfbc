"""Whole answers in unusual bytes, and errors of the service: noticed, told, tried again only where that may help."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from mock_server.delivery import Wire
from qfkit.protocol.errors import ErrorSpec, translate
from qfkit.testing.conformance.case import Case, Expected, Outcome
from qfkit.testing.conformance.shape import TEXT, Shape, compact
from qfkit.testing.conformance.stage import Stage

#: More attempts of one call than these help nobody (`qfkit.grading.Limits.attempts`).
MOST_ATTEMPTS = 10

_JSON = "RFC 8259"
_WHOLE = "RFC 9112, 8: a body that lacks its end is incomplete, and has to be taken for that"


def _reads(
    name: str,
    what: str,
    made: Callable[[Shape], Any],
    *,
    text: str = TEXT,
    why: str = _JSON,
    do: str = "Read the whole body, undo its coding, and parse it as JSON in UTF-8.",
    how: dict[str, Any] | None = None,
    **options: Any,
) -> Case:
    return Case(
        name=f"answers/{name}",
        what=what,
        expected=options.pop("expected", None) or Expected(text=text, attempts=(1, 1)),
        do=do,
        why=why,
        script=lambda stage: stage.raw(made(stage.shape), **(how or {})),
        **options,
    )


def _breaks(name: str, what: str, made: Callable[[Shape], Any], **options: Any) -> Case:
    options.setdefault("do", "Check the status and the shape of the answer, and raise an error of your own.")
    return _reads(name, what, made, expected=Expected(fails=True, attempts=(1, MOST_ATTEMPTS)), **options)


def _printed(shape: Shape) -> bytes:
    return json.dumps(json.loads(shape.whole()), indent=4).encode()


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def _member(shape: Shape) -> bytes:
    data = json.loads(shape.whole())
    more = {"trace": {"result": "x", "error": None}, "need": [1, None], "score": 1e300}
    return compact(dict(reversed((data | more).items())))


_SAID = 'a "quoted" \\ text,\n\ttwo lines, 😀 and \u2028 and [DONE]'

_ANSWERS = (
    _reads("plain", "the answer is as ever", lambda it: it.whole(), why="to begin with"),
    _reads("printed", "the JSON is printed over many lines, and escaped", _printed),
    _reads("white-space", "white space stands around the JSON", lambda it: b"\r\n \t" + it.whole() + b"\n\n"),
    _reads("unknown-members", "the JSON has members that nobody knows, in another order", _member),
    _reads(
        "any-text", "the text has quotes, line ends, emoji, U+2028 and [DONE]", lambda it: it.whole(_SAID), text=_SAID
    ),
    _reads(
        "surrogate-escapes",
        r"an emoji is escaped as \ud83d\ude00",
        lambda it: it.whole("@").replace(b"@", rb"\ud83d\ude00"),
        text="😀",
        why=f"{_JSON}, 7",
    ),
    _reads("nothing-said", "the text is empty", lambda it: it.whole(""), text="", level="recommended"),
    _reads("large", "the answer has two megabytes", lambda it: it.whole("字" * 700_000), text="字" * 700_000),
    _reads(
        "gzip",
        "the body is compressed",
        lambda it: _gzip(it.whole()),
        how={"headers": [("Content-Encoding", "gzip")]},
        why="wire reference 3.3: real answers are, when it is offered",
    ),
    _reads(
        "chunks",
        "the body comes in chunks of a byte",
        lambda it: [bytes([byte]) for byte in it.whole()],
        how={"streamed": True, "content_type": "application/json; charset=utf-8"},
        why="RFC 9112, 7.1",
    ),
    _reads(
        "content-type-none",
        "the answer has no Content-Type",
        lambda it: it.whole(),
        how={"content_type": None},
        why="RFC 9110, 8.3: a sender should send one, and need not",
        level="recommended",
    ),
    _reads(
        "content-type-latin-1",
        "Content-Type says charset=iso-8859-1",
        lambda it: it.whole(),
        how={"content_type": "application/json; charset=iso-8859-1"},
        why=f"{_JSON}, 8.1 and 11: JSON is UTF-8, and has no such parameter",
        level="recommended",
    ),
    _breaks("no-json", "the body is no JSON", lambda it: it.whole()[:-20]),  # its length is right: it was written so
    _breaks("empty-body", "the body is empty", lambda _: b"", how={"streamed": False}),
    _breaks("list", "the JSON is a list", lambda _: b"[]", level="recommended"),
    _breaks("empty-object", "the JSON is an object without an answer", lambda _: b"{}"),
    _breaks("null", "the JSON is null", lambda _: b"null", level="recommended"),
    _breaks(
        "web-page",
        "a web page comes, HTTP 200",
        lambda _: b"<!doctype html>\n<title>Login</title>\n<p>Please log in.</p>\n",
        how={"content_type": "text/html; charset=utf-8"},
        why="what a portal or a proxy on the way answers",
    ),
    _breaks(
        "short-of-its-length",
        "Content-Length promises more than comes",
        lambda it: it.whole(),
        how={"wire": Wire(length_by=10), "ending": "cut"},
        why=_WHOLE,
    ),
    _breaks(
        "cut",
        "the connection closes inside the body",
        lambda it: it.whole()[:40],
        how={"wire": Wire(length_by=200), "ending": "cut"},
        why=_WHOLE,
    ),
    _breaks(
        "cut-chunks",
        "a chunked body ends without its last chunk",
        lambda it: it.whole(),
        how={"streamed": True, "content_type": "application/json; charset=utf-8", "ending": "cut"},
        why=_WHOLE,
    ),
    _breaks(
        "cut-gzip",
        "the compressed body is cut",
        lambda it: _gzip(it.whole())[:-30],
        how={"headers": [("Content-Encoding", "gzip")]},
        why="RFC 1952: the end of a member is its checksum",
    ),
)


# Errors

#: Codes that stand for their kind, by dialect; each is looked up in the error table.
_CODES: dict[str, tuple[int | str, ...]] = {
    "v1": (2, 18, 336100, 336501, 336502, 3, 6, 17, 19, 336003, 336007),
    "v2": (
        "rpm_rate_limit_exceeded",
        "tpm_rate_limit_exceeded",
        "internal_error",
        "invalid_messages",
        "tokens_too_long",
        "invalid_model",
        "account_overdue",
    ),
    "text_generation": (429, 500, 400, 403),
}
#: One code of each sort that is also met by requests for streams.
_STREAMED: dict[str, tuple[int | str, ...]] = {
    "v1": (18, 336003),
    "v2": ("rpm_rate_limit_exceeded", "invalid_messages"),
    "text_generation": (429, 400),
}
_TABLE = "docs/errors.md"
_NO_SECRETS = "shows no key or token in its error"


def _noticed(dialect: str, code: int | str, spec: ErrorSpec, *, streamed: bool) -> Iterator[Case]:
    name = f"errors/{'streamed-' if streamed else ''}{code}"
    under = f"HTTP {spec.status}"
    what = (
        f"the service answers {code} ({spec.message}) under {under}{' to a request for a stream' if streamed else ''}"
    )
    needs: tuple[Any, ...] = ("stream",) if streamed else ()
    common: dict[str, Any] = {"dialects": (dialect,), "streamed": streamed}
    retryable = spec.retryable
    yield Case(
        name=name,
        what=f"{what}, every time",
        expected=Expected(
            fails=True, so_far="", attempts=(1, MOST_ATTEMPTS if retryable else 1), free_of=("permanent-retried",)
        ),
        do=(
            "Raise an error after a few attempts."
            if retryable
            else "Raise at once: no other attempt can cure it (`qfkit errors` says which)."
        )
        + (" Look for error_code in the body first: the status is 200." if dialect == "v1" else ""),
        why=f"{_TABLE}: {spec.meaning}",
        script=lambda stage: stage.account.fail(code, times="forever"),
        needs=needs,
        **common,
    )
    if retryable:
        yield Case(
            name=f"{name}-once",
            what=f"{what}, once",
            expected=Expected(text=TEXT, attempts=(2, 3)),
            do="Try again after a wait.",
            why=f"{_TABLE}: the same request may well succeed a moment later",
            script=lambda stage: stage.account.fail(code).then.reply(TEXT),
            needs=(*needs, "retries"),
            level="recommended",
            **common,
        )


def _tells(dialect: str) -> Case:
    code = _STREAMED[dialect][1]
    spec = translate(code, dialect)
    return Case(
        name=f"errors/told-{dialect}",
        what=f"the service answers {code} with a message of its own",
        expected=Expected(fails=True, tells=(str(code), "与众不同的话")),
        do="Put the service's code and words into the error: they are what its support asks for.",
        why=f"{_TABLE}: {spec.remedy}",
        script=lambda stage: stage.account.fail(code, message="与众不同的话", times="forever"),
        dialects=(dialect,),
        level="recommended",
    )


def _trouble(name: str, what: str, script: Callable[..., object], why: str) -> tuple[Case, Case]:
    common: dict[str, Any] = {"why": why}
    return (
        Case(
            name=f"errors/{name}",
            what=f"{what}, every time",
            expected=Expected(fails=True, attempts=(1, MOST_ATTEMPTS)),
            do="Raise an error after a few attempts.",
            script=script,
            **common,
        ),
        Case(
            name=f"errors/{name}-once",
            what=f"{what}, once",
            expected=Expected(text=TEXT, attempts=(2, 3)),
            do="Try again after a wait: asking a model changes nothing on the server, so it may be asked twice.",
            script=lambda stage: (script(stage, 1), stage.account.reply(TEXT)),
            needs=("retries",),
            level="recommended",
            **common,
        ),
    )


def _fault(kind: str, **options: Any) -> Callable[..., object]:
    return lambda stage, times="forever": stage.account.fault(kind, times=times, **options)


def _secret_free(stage: Stage, _outcome: Outcome) -> str | None:
    said = " ".join(text for outcome in stage.outcomes for text in _words(outcome.error))
    found = [name for name, value in stage.secrets.items() if value in said]
    if re.search(r"access_token=24\.\w", said):
        found.append("an access token")
    return f"its error shows {' and '.join(found)}" if found else None


def _words(error: BaseException | None) -> Iterator[str]:
    """What an error says, and what a traceback shows of its causes."""
    while error is not None:
        yield f"{error!s} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _errors() -> Iterator[Case]:
    for dialect, codes in _CODES.items():
        for code in codes:
            yield from _noticed(dialect, code, translate(code, dialect), streamed=False)
        for code in _STREAMED[dialect]:
            yield from _noticed(dialect, code, translate(code, dialect), streamed=True)
        yield _tells(dialect)
    yield from _trouble(
        "bad-gateway",
        "a proxy answers HTTP 502 with a web page",
        _fault("proxy-error"),
        "what nginx answers when the service behind it is gone",
    )
    yield from _trouble(
        "unavailable",
        "a proxy answers HTTP 503 without a body",
        _fault("proxy-error", status=503, server="bfe"),
        "Baidu's own front end answers so (github.com/bfenetworks/bfe)",
    )
    yield from _trouble(
        "closed",
        "the connection closes without an answer",
        _fault("close"),
        "services restart, and idle connections are closed while a request is on its way (RFC 9112, 9.3.1)",
    )
    yield from _trouble("reset", "the connection is reset without an answer", _fault("reset"), "RFC 9293, 3.5.2")
    yield from _trouble("no-http", "bytes come that are no HTTP", _fault("garbage"), "RFC 9112, 2.2")
    yield Case(
        name="errors/unknown-code",
        what="the service answers with a code that no table has, under HTTP 200",
        expected=Expected(fails=True, attempts=(1, MOST_ATTEMPTS)),
        do="Take every answer with error_code (v1) or error (v2) for an error, whatever the code.",
        why="tables grow; wire reference 5.1 lists gaps",
        script=lambda stage: stage.raw(
            b'{"error":{"code":"brand_new","message":"new","type":"new"},"id":"as-1"}'
            if stage.shape.dialect == "v2"
            else b'{"error_code":987654,"error_msg":"new","id":"as-1"}',
            status=400 if stage.shape.dialect == "v2" else 200,
        ),
    )
    yield Case(
        name="errors/secret-free",
        what="the service refuses a request, and a proxy the next ones with HTTP 502",
        expected=Expected(fails=True, also=_secret_free, words=_NO_SECRETS),
        do="Leave keys, tokens, and URLs that hold them out of errors.",
        why="an error is printed, logged and mailed",
        script=lambda stage: stage.account.fail(_STREAMED[stage.shape.dialect][1]).fault(
            "proxy-error", times="forever"
        ),
        play=lambda stage: [stage.ask("第一问"), stage.ask("第二问")][-1],
    )
    yield Case(
        name="errors/wrong-keys",
        what="the secret keys of the client are not those of the account",
        expected=Expected(fails=True, attempts=(0, 2), also=_secret_free, words=_NO_SECRETS),
        do="Raise at once: the same keys are refused every time.",
        why="wire reference 2: 14 (v1), invalid_iam_token (v2), HTTP 401 (text_generation, OAuth)",
        script=lambda stage: None,  # noqa: ARG005 - nothing is scripted
        keys="wrong",
    )


CASES: tuple[Case, ...] = (*_ANSWERS, *_errors())
