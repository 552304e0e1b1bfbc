"""A signed request as people have it at hand: captured from the wire, or as the curl command that sent it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeAlias
from urllib.parse import quote, urlsplit

import click

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing.bce_auth_v1 import SCHEME as BCE
from qfkit.protocol.signing.hmac_headers import (
    ACCESS_KEY_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
)
from qfkit.protocol.signing.hmac_headers import SCHEME as HMAC


class UnreadableRequest(ValueError):
    """The text is no HTTP request, or no curl command that this module can follow; it says where."""


def signed_by(request: HttpRequest) -> str:
    """The scheme that signs a request, by its headers.

    Raises:
        UnreadableRequest: neither does.
    """
    authorization = (request.header("Authorization") or "").strip()
    if request.header(SIGNATURE_HEADER) is None and authorization.startswith(BCE):
        return BCE
    if any(request.header(name) is not None for name in (ACCESS_KEY_HEADER, TIMESTAMP_HEADER, NONCE_HEADER)):
        return HMAC
    if request.header(SIGNATURE_HEADER) is not None:
        return HMAC
    kind = authorization.partition(" ")[0][:20]
    found = f"; its Authorization is of the kind {kind!r}, which is no signature" if authorization else ""
    raise UnreadableRequest(
        f"the request is not signed: it has neither {SIGNATURE_HEADER} nor Authorization: {BCE}/...{found}"
    )


# -- captured from the wire -------------------------------------------------------------------------------------------

_LINE = re.compile(rb"\r?\n")
_BLANK = re.compile(rb"\r?\n\r?\n")


def read_raw(data: bytes) -> HttpRequest:
    """An HTTP/1 request as it was captured, its lines ended by CRLF or by LF.

    The body is what follows the empty line: as many bytes as ``Content-Length`` says, where there is one, so that the
    newline which an editor puts at the end of a file does not count; chunks are put together.

    Raises:
        UnreadableRequest: it is not of that form, or ends before its body does.
    """
    data = data.lstrip(b"\r\n")
    blank = _BLANK.search(data)
    head, body = (data[: blank.start()], data[blank.end() :]) if blank else (data.rstrip(b"\r\n"), b"")
    first, *lines = [_text(line) for line in _LINE.split(head)]
    words = first.split(" ")
    if len(words) not in {2, 3} or not words[0].isalpha() or (len(words) == 3 and not words[2].startswith("HTTP/")):
        raise UnreadableRequest(
            f"the first line is {first[:60]!r}, not METHOD TARGET HTTP/1.1, such as POST /path HTTP/1.1"
        )
    headers = _headers(lines)
    scheme, target = "http", words[1]
    if "://" in target.partition("?")[0]:  # as sent to a proxy
        scheme, host, target = _split(target)
        headers = headers if any(name.lower() == "host" for name, _ in headers) else [("Host", host), *headers]
    elif not target.startswith("/"):
        raise UnreadableRequest(
            f"the target in the first line is {target[:60]!r}: it begins with a slash or is a full URL"
        )
    request = HttpRequest(words[0], target, tuple(headers), body, scheme)
    return HttpRequest(words[0], target, tuple(headers), _body(request), scheme)


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:  # the wire allows any bytes; the signature's readers know what to do with these
        return line.decode("latin-1")


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    headers: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=2):
        name, colon, value = line.partition(":")
        if line[:1] in {" ", "\t"} and headers:  # a folded line goes on with the one before (RFC 9112, 5.2)
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
        elif not colon or not name or name != name.strip():
            raise UnreadableRequest(
                f"line {number} is {line[:60]!r}, not 'Name: value'; an empty line ends the headers"
            )
        else:
            headers.append((name, value.strip(" \t")))
    return headers


def _body(request: HttpRequest) -> bytes:
    body, length = request.body, request.header("Content-Length")
    if (request.header("Transfer-Encoding") or "").lower() == "chunked":
        return _unchunked(body)
    if length is None:
        return body
    if not (length.isascii() and length.isdigit()):
        raise UnreadableRequest(f"Content-Length is {length[:40]!r}, not a number of bytes")
    if len(body) < int(length):
        raise UnreadableRequest(
            f"Content-Length says {length} bytes, but only {len(body)} follow the headers: capture the whole request, "
            "byte for byte"
        )
    return body[: int(length)]


def _unchunked(data: bytes) -> bytes:
    body = b""
    while True:
        line, _, rest = data.partition(b"\n")
        try:
            size = int(line.partition(b";")[0].strip(), 16)
        except ValueError:
            raise UnreadableRequest(
                f"a chunk of the body begins with {line[:40]!r}, not with its size in hex"
            ) from None
        if size == 0:
            return body
        if len(rest) < size:
            raise UnreadableRequest(f"the body ends inside a chunk of {size} bytes: capture the whole request")
        body, data = body + rest[:size], rest[size:].removeprefix(b"\r").removeprefix(b"\n")


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, host and target of a URL."""
    parts = urlsplit(url if "://" in url.partition("?")[0] else f"http://{url}")
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme not in {"http", "https"} or not host:
        raise UnreadableRequest(f"{url[:80]!r} is no http:// or https:// URL")
    return parts.scheme, host, f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


# -- a curl command ---------------------------------------------------------------------------------------------------

_PIECE = re.compile(
    r"""'(?P<single>[^']*)' | \$'(?P<ansi>(?:[^'\\]|\\.)*)' | "(?P<double>(?:[^"\\]|\\.)*)" | \\(?P<escaped>.) """
    r"""| (?P<plain>[^\s'"\\]) """,
    re.VERBOSE | re.DOTALL,
)
_JOINED_LINES = re.compile(r"\\\r?\n")
_SPACE = re.compile(r"(?:\\\r?\n|\s)*")
_ANSI = re.compile(r"\\(?:u([0-9a-fA-F]{1,4})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_ANSI_CHARACTERS = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "e": "\x1b", "0": "\0"}


def shell_words(command: str) -> Iterator[str]:
    r"""The words of a command as a POSIX shell splits them; ``$'...'`` too, in which browsers copy their requests.

    ``shlex`` knows neither that nor that a backslash at the end of a line joins it to the next.

    Raises:
        UnreadableRequest: a quotation mark is not closed.
    """
    at = _space_after(command, 0)
    while at < len(command):
        word = ""
        while found := _PIECE.match(command, at):
            word += _unquoted(found)
            at = found.end()
            while joined := _JOINED_LINES.match(command, at):  # within a word, too, it counts for nothing
                at = joined.end()
        if at < len(command) and command[at] in "'\"\\" and _space_after(command, at) == at:
            raise UnreadableRequest(
                f"the curl command has a quotation mark that is not closed: {command[at : at + 40]!r}"
            )
        yield word
        at = _space_after(command, at)


def _space_after(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _unquoted(found: re.Match[str]) -> str:
    kind, text = found.lastgroup, found[found.lastgroup or 0]
    if kind == "double":
        return re.sub(r'\\([$`"\\])', r"\1", re.sub(r"\\\r?\n", "", text))
    if kind != "ansi":
        return text
    return _ANSI.sub(_ansi_character, text)


def _ansi_character(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else _ANSI_CHARACTERS.get(found[3], found[3])


@dataclass
class _Curl:
    """What the options seen so far add up to."""

    url: str | None = None
    method: str | None = None
    headers: list[str] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    json: bool = False
    as_query: bool = False
    head: bool = False


def _set_url(curl: _Curl, value: str) -> None:
    if curl.url is not None:
        raise UnreadableRequest(f"the curl command has two URLs, {curl.url[:60]!r} and {value[:60]!r}: give one")
    curl.url = value


def _set_method(curl: _Curl, value: str) -> None:
    curl.method = value


def _add_header(curl: _Curl, value: str) -> None:
    if value.startswith("@"):
        raise UnreadableRequest(f"-H {value}: headers from a file are not read; write them into the command")
    curl.headers.append(value)


def _add_agent(curl: _Curl, value: str) -> None:
    curl.headers.append(f"User-Agent: {value}")


def _content(name: str) -> bytes:
    try:
        with click.open_file(name, "rb") as file:
            data: bytes = file.read()
            return data
    except OSError as error:
        raise UnreadableRequest(f"the curl command sends the file {name!r}, which cannot be read: {error}") from error


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _add_data(curl: _Curl, value: str) -> None:
    # As curl does: line ends and NULs of a file are left out.
    curl.data.append(re.sub(rb"[\r\n\0]", b"", _content(value[1:])) if value.startswith("@") else _octets(value))


def _add_raw(curl: _Curl, value: str) -> None:
    curl.data.append(_octets(value))


def _add_binary(curl: _Curl, value: str) -> None:
    curl.data.append(_content(value[1:]) if value.startswith("@") else _octets(value))


def _add_encoded(curl: _Curl, value: str) -> None:
    name, equals, content = value.partition("=")
    if not equals and "@" in value:
        raise UnreadableRequest(
            f"--data-urlencode {value}: a file there is not read; encode it, and give it as --data-raw"
        )
    content = quote(content if equals else value, safe="")
    curl.data.append(_octets(f"{name}={content}" if name and equals else content))


def _add_json(curl: _Curl, value: str) -> None:
    curl.json = True
    # Several --json are one text, not fields of a form.
    before = curl.data.pop() if curl.data else b""
    _add_binary(curl, value)
    curl.data[-1] = before + curl.data[-1]


def _set_query(curl: _Curl) -> None:
    curl.as_query = True


def _set_head(curl: _Curl) -> None:
    curl.head = True


def _ignore(_: _Curl, __: str = "") -> None:
    """An option that changes nothing in what is sent and signed."""


_WithValue: TypeAlias = Callable[[_Curl, str], None]
_VALUES: dict[str, _WithValue] = {
    **dict.fromkeys(("-X", "--request"), _set_method),
    **dict.fromkeys(("-H", "--header"), _add_header),
    **dict.fromkeys(("-d", "--data", "--data-ascii"), _add_data),
    "--data-raw": _add_raw,
    "--data-binary": _add_binary,
    "--data-urlencode": _add_encoded,
    "--json": _add_json,
    "--url": _set_url,
    **dict.fromkeys(("-A", "--user-agent"), _add_agent),
    **dict.fromkeys(("-m", "--max-time", "--connect-timeout", "-o", "--output", "-w", "--write-out"), _ignore),
}
_FLAGS: dict[str, Callable[[_Curl], None]] = {
    **dict.fromkeys(("-G", "--get"), _set_query),
    **dict.fromkeys(("-I", "--head"), _set_head),
    **dict.fromkeys(
        ("--compressed", "-k", "--insecure", "-s", "--silent", "-v", "--verbose", "-i", "--include"), _ignore
    ),
    **dict.fromkeys(("-L", "--location", "-f", "--fail", "-S", "--show-error", "-N", "--no-buffer"), _ignore),
    **dict.fromkeys(("--http1.1", "--http2"), _ignore),
}


def read_curl(command: str) -> HttpRequest:
    """The request that a curl command sends.

    Raises:
        UnreadableRequest: it is not a curl command, has an option that is not known here, or a file of it cannot be
            read.
    """
    words = shell_words(command)
    if (first := next(words, "")).rpartition("/")[2] not in {"curl", "curl.exe"}:
        raise UnreadableRequest(f"the command begins with {first[:40]!r}, not with curl")
    curl = _Curl()
    for word in words:
        if word.startswith("--"):
            _long(curl, word, words)
        elif word.startswith("-") and word != "-":
            _short(curl, word, words)
        else:
            _set_url(curl, word)
    return _request(curl)


def _long(curl: _Curl, name: str, words: Iterator[str]) -> None:
    if name in _FLAGS:
        _FLAGS[name](curl)
    elif name in _VALUES:
        _VALUES[name](curl, _value(name, words))
    else:
        raise _unknown(name)


def _short(curl: _Curl, word: str, words: Iterator[str]) -> None:
    """Short options: several may stand together, and a value right behind its option, as in ``-skXPOST``."""
    for place in range(1, len(word)):
        name = f"-{word[place]}"
        if name in _VALUES:
            return _VALUES[name](curl, word[place + 1 :] or _value(name, words))
        if name not in _FLAGS:
            raise _unknown(name)
        _FLAGS[name](curl)
    return None


def _value(name: str, words: Iterator[str]) -> str:
    value = next(words, None)
    if value is None:
        raise UnreadableRequest(f"the curl option {name} lacks its value")
    return value


def _unknown(name: str) -> UnreadableRequest:
    near = get_close_matches(name, [*_VALUES, *_FLAGS], n=1)
    hint = f"did you mean {near[0]}?" if near and len(name) > 2 else "leave it out, if it does not change the request"
    return UnreadableRequest(f"the curl option {name} is not known here: {hint}")


def _request(curl: _Curl) -> HttpRequest:
    if curl.url is None:
        raise UnreadableRequest("the curl command has no URL")
    scheme, host, target = _split(curl.url)
    data = b"&".join(curl.data)
    body = b"" if curl.as_query or curl.head else data
    if curl.as_query and data:
        target += ("&" if "?" in target else "?") + data.decode("utf-8", "surrogateescape")
    sends = bool(curl.data) and not (curl.as_query or curl.head)
    method = curl.method or ("HEAD" if curl.head else "POST" if sends else "GET")
    defaults = {"Host": host, "Accept": "application/json" if curl.json else "*/*"}
    if sends:
        defaults["Content-Length"] = str(len(body))
        defaults["Content-Type"] = "application/json" if curl.json else "application/x-www-form-urlencoded"
    own, dropped = _given(curl.headers)
    present = {name.lower() for name, _ in own} | dropped
    headers = (*((name, value) for name, value in defaults.items() if name.lower() not in present), *own)
    return HttpRequest(method, target, headers, body, scheme)


def _given(texts: list[str]) -> tuple[list[tuple[str, str]], set[str]]:
    """The headers of ``-H``, and names of those that it takes away: ``Name:`` does, ``Name;`` sends it empty."""
    headers, dropped = [], set()
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon and text.endswith(";"):
            headers.append((text[:-1].strip(), ""))
        elif not colon or not name.strip():
            raise UnreadableRequest(f"-H {text[:60]!r} is not 'Name: value'")
        elif not value.strip():
            dropped.add(name.strip().lower())
        else:
            headers.append((name.strip(), value.strip()))
    return headers, dropped
