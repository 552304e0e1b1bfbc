"""Other people's decoders of event streams give what the tables expect: a mistake of ours is no rule for others.

Three are asked: openai-python's, httpx-sse's, and the parser of the WHATWG standard, written down here sentence by
sentence. What each makes of a case's bytes is read by the few rules of the dialect, and held against the table.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from httpx_sse._decoders import SSEDecoder as HttpxDecoder
from openai._streaming import SSEDecoder as OpenAIDecoder

from qfkit.testing.conformance import CASES, Case, Stage
from qfkit.testing.conformance.shape import Shape


def by_openai(body: bytes) -> Iterator[str]:
    for event in OpenAIDecoder().iter_bytes(iter([body])):
        yield event.data


def by_httpx_sse(body: bytes) -> Iterator[str]:
    decoder = HttpxDecoder()
    for line in re.split(r"\r\n|\n|\r", body.decode("utf-8", "replace"))[:-1]:
        if (event := decoder.decode(line)) is not None:
            yield event.data


def by_whatwg(body: bytes) -> Iterator[str]:
    """9.2.5 and 9.2.6, in the words of the standard."""
    # "Streams must be decoded using the UTF-8 decode algorithm", which strips one leading byte order mark.
    stream = body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    data_buffer = ""
    *lines, _unfinished = re.split(r"\r\n|\n|\r", stream)  # "Once the end of the file is reached, discard"
    for line in lines:
        if line == "":
            # "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string
            # and return. If the data buffer's last character is a U+000A, remove it."
            if data_buffer != "":
                yield data_buffer[:-1] if data_buffer[-1] == "\n" else data_buffer
            data_buffer = ""
        elif line.startswith(":"):
            pass
        else:
            field, _colon, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data_buffer += value + "\n"


DECODERS: dict[str, Callable[[bytes], Iterable[str]]] = {
    "openai": by_openai,
    "httpx-sse": by_httpx_sse,
    "whatwg": by_whatwg,
}

#: Where a decoder is not of the standard's opinion, and why that is known.
DISAGREE = {
    **dict.fromkeys(
        (("fields/bom", "openai"), ("splits/inside-the-bom", "openai"), ("fields/bom", "httpx-sse")),
        "keeps a byte order mark",
    ),
    ("splits/inside-the-bom", "httpx-sse"): "keeps a byte order mark",
    ("fields/no-data", "openai"): "hands on events without data",
    ("fields/no-data", "httpx-sse"): "hands on events without data",
    ("damage/bad-utf-8", "openai"): "raises UnicodeDecodeError, which is as sound",
}

#: Cases that are not about the bytes, and one that is about a habit of Qianfan's.
BESIDE = {
    "stalls/before-the-first": "time",
    "stalls/after-the-first": "time",
    "ends/left": "its reader stops by itself",
    "failures/bare-line": "a bare line of JSON is nothing to the standard, and an error to clients of Qianfan",
}


@dataclass(frozen=True)
class Read:
    """What a reader of a dialect makes of events: the text, and whether it may take it for whole."""

    text: str
    whole: bool


def read(payloads: Iterable[str], dialect: str) -> Read:
    text, ended = "", dialect == "text_generation"  # whose streams end with their body
    for payload in payloads:
        if payload == "[DONE]":
            return Read(text, True)
        try:
            event = json.loads(payload)
        except ValueError:
            return Read(text, False)
        if not isinstance(event, dict) or event.get("error") or event.get("error_code"):
            return Read(text, False)
        if dialect == "v1":
            text += event["result"]
            ended = event["is_end"]
            if ended:
                break
        else:
            for choice in event["choices"]:
                text += choice["delta"].get("content") or ""
                ended = ended or choice.get("finish_reason") is not None
    return Read(text, ended)


class _Account:
    """Stands for an account: nothing is played."""

    def step(self, *_: Any, **__: Any) -> None: ...


def bodies() -> Iterator[tuple[Case, str, bytes]]:
    """Every stream whose body comes whole, as one run of bytes."""
    for case in CASES:
        if not case.streamed or case.area in {"retry-after", "errors", "signature", "tokens", "backoff"}:
            continue
        for dialect in case.dialects:
            stage = Stage(case, _Account(), Shape(dialect), call=str, stream=list, read_timeout=1.0)  # type: ignore[arg-type]
            case.script(stage)
            [raw] = stage.raws
            if raw.ending == "complete" and raw.streamed:
                body = b"".join(data for _, data in raw.pieces)
                zipped = ("Content-Encoding", "gzip") in raw.headers
                yield case, dialect, zlib.decompress(body, wbits=31) if zipped else body


BODIES = list(bodies())


def test_there_are_more_than_forty_streams_of_torture_a_dialect() -> None:
    for dialect in ("text_generation", "v1", "v2"):
        played = [case for case in CASES if case.streamed and dialect in case.dialects]
        whole = [case for case, spoken, _ in BODIES if spoken == dialect]
        assert len(played) >= 80
        assert len(whole) >= 40


@pytest.mark.parametrize("decoder", DECODERS)
def test_other_peoples_decoders_agree_with_the_tables(decoder: str) -> None:
    wrong = []
    differ = set()
    for case, dialect, body in BODIES:
        wanted = case.expected
        if (wanted.fails and wanted.text is not None) or case.name in BESIDE:
            continue  # either will do
        try:
            found = read(DECODERS[decoder](body), dialect)
        except (KeyError, UnicodeDecodeError):
            found = Read("", False)
        fits = found == Read(wanted.text, True) if wanted.text is not None else not found.whole
        if wanted.fails and not (wanted.so_far or "").startswith(found.text):
            fits = False
        if (case.name, decoder) in DISAGREE:
            differ.add((case.name, decoder)) if not fits else None
        elif not fits:
            wrong.append((case.name, dialect, found, wanted.text))
    assert wrong == []
    settled = {case.name for case, _, _ in BODIES if not (case.expected.fails and case.expected.text is not None)}
    known = {pair for pair in DISAGREE if pair[1] == decoder and pair[0] in settled}
    assert differ == known, "these decoders have come to agree: take them out of DISAGREE"


def test_whatever_is_cut_anywhere_stays_the_same() -> None:
    """The cases of one family say the same bytes in other pieces: their decoders need no incremental twin."""
    plain = {dialect: body for case, dialect, body in BODIES if case.name == "splits/one-write"}
    for name in ("one-byte-chunks", "two-events-a-chunk", "inside-characters", "inside-the-line-end", "below-http"):
        assert {dialect: body for case, dialect, body in BODIES if case.name == f"splits/{name}"} == plain
