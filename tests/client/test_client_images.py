"""Pictures: what is sent of them, and what is refused before anything is sent."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionContentPartImageParam
from pydantic import TypeAdapter
from scripted_server import STREAMS, V1_OK, V2_OK, answer, stream

from mock_server import MockServer
from qfkit.client import Client, ConfigurationError, image
from qfkit.client.images import RULES, dimensions, sniff
from qfkit.protocol.tokens import estimate


def png(width=20, height=30):
    """A whole grey PNG, written by the standard (RFC 2083)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg(width=20, height=30):
    app0 = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0\1\1\0\0\1\0\1\0\0"
    table = b"\xff\xc4" + struct.pack(">H", 4) + b"\0\0"  # a Huffman table, whose marker lies among the frames'
    frame = b"\xff\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    return b"\xff\xd8" + app0 + table + frame + b"\xff\xd9"


def gif(width=20, height=30):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0;"


def bmp(width=20, height=30):
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, *[0] * 6)


def old_bmp(width=20, height=30):
    return b"BM" + struct.pack("<IHHI", 26, 0, 0, 26) + struct.pack("<IHHHH", 12, width, height, 1, 24)


def riff(kind, data):
    return b"RIFF" + struct.pack("<I", 12 + len(data)) + b"WEBP" + kind + struct.pack("<I", len(data)) + data


def webp(width=20, height=30):
    return riff(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height))


def webp_lossless(width=20, height=30):
    return riff(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14))


def webp_extended(width=20, height=30):
    return riff(b"VP8X", b"\0" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))


def png_head(width=20, height=30):
    return png()[:16] + struct.pack(">II", width, height) + png()[24:]


MAKERS = {
    png_head: "image/png",
    jpeg: "image/jpeg",
    gif: "image/gif",
    bmp: "image/bmp",
    old_bmp: "image/bmp",
    webp: "image/webp",
    webp_lossless: "image/webp",
    webp_extended: "image/webp",
}


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@given(width=st.integers(1, 16000), height=st.integers(1, 16000))
def test_type_and_size_are_read_from_the_bytes(make, width, height):
    data = make(width, height)
    assert sniff(data) == MAKERS[make]
    assert dimensions(data, MAKERS[make]) == (width, height)


@given(data=st.binary(max_size=60), make=st.sampled_from(list(MAKERS)), cut=st.integers(0, 60))
def test_no_bytes_break_it(data, make, cut):
    for candidate in (data, make()[:cut] + data):
        mime = sniff(candidate)
        if mime is not None:
            dimensions(candidate, mime)
        if mime is None:
            with pytest.raises(ConfigurationError, match="is no picture: it looks like"):
                image(candidate)


def sources(tmp_path):
    path = tmp_path / "secret-name.jpeg"  # the name says otherwise; the bytes are believed
    path.write_bytes(png())
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    return [str(path), path, png(), bytearray(png()), memoryview(png()), io.BytesIO(png()), url]


def test_every_kind_of_source_is_the_same_part_which_openai_knows_too(tmp_path):
    for source in sources(tmp_path):
        part = image(source)
        assert part == {
            "type": "image_url",
            "image_url": {"url": f"data:image/png;base64,{base64.b64encode(png()).decode()}"},
        }
        TypeAdapter(ChatCompletionContentPartImageParam).validate_python(part)
    assert image(png(), detail="low")["image_url"]["detail"] == "low"
    with pytest.raises(ConfigurationError, match="detail is one of auto, low, high; got 'loud'"):
        image(png(), detail="loud")


def test_a_url_is_passed_on_and_not_read(server):
    url = f"{server.url}/cat.png"
    assert image(url) == {"type": "image_url", "image_url": {"url": url}}
    assert server.requests == []
    with pytest.raises(ConfigurationError, match="names no host"):
        image("https:///cat.png")


def test_v2_gets_pictures_before_the_text_and_no_file_name(server, connect, tmp_path):
    server.play(answer(V2_OK), stream(*STREAMS["v2"]))
    path = tmp_path / "secret-name.png"
    path.write_bytes(png())
    client = connect("v2", model="ernie-4.5-turbo-vl")
    client.chat("看图", images=[path, "https://example.com/a.png"])
    client.stream([{"role": "user", "content": [{"type": "text", "text": "看图"}]}], images=[png()]).reply()
    first, second = (request.json["messages"] for request in server.requests)
    assert first == [
        {
            "role": "user",
            "content": [image(png()), image("https://example.com/a.png"), {"type": "text", "text": "看图"}],
        }
    ]
    assert second == [{"role": "user", "content": [image(png()), {"type": "text", "text": "看图"}]}]
    assert b"secret-name" not in b"".join(request.body for request in server.requests)


def test_pictures_stay_with_their_question_when_a_stream_goes_on(server, connect):
    server.play(stream(*STREAMS["v2"][:2], end=False), stream(*STREAMS["v2"]))
    connect("v2").stream("看图", images=[png()], resume="continue").reply()
    messages = server.requests[1].json["messages"]
    assert messages[0]["content"][0] == image(png())
    assert isinstance(messages[-1]["content"], str)


def test_pictures_in_a_conversation_stay_in_its_history(server, connect, tmp_path):
    server.otherwise = answer(V2_OK)
    talk = connect("v2").conversation()
    talk.say("看图", images=[png()])
    talk.save(tmp_path / "talk.json")
    again = connect("v2").conversation(load=tmp_path / "talk.json")
    again.say("什么颜色?")
    assert server.requests[1].json["messages"][0]["content"] == [image(png()), {"type": "text", "text": "看图"}]
    assert again.tokens == estimate("看图") + estimate("你好") + estimate("什么颜色?") + estimate("你好")


@pytest.mark.parametrize("streamed", [False, True])
def test_v1_asks_its_own_endpoint_with_bare_base64(server, connect, streamed):
    server.play(stream(*STREAMS["v1"]) if streamed else answer(V1_OK))
    client = connect("v1", model="Fuyu-8B")
    ask = client.stream if streamed else client.chat
    reply = ask("看图", images=[png()], temperature=0.5)
    assert (reply.reply() if streamed else reply).text == "你好"
    (request,) = server.requests
    assert request.path.endswith("/wenxinworkshop/image2text/fuyu_8b")
    assert request.json == {
        "prompt": "看图",
        "image": base64.b64encode(png()).decode(),
        "temperature": 0.5,
        **({"stream": True} if streamed else {}),
    }


@pytest.mark.parametrize(
    ("prompt", "options", "words"),
    [
        ("?", {"images": [png(), png()]}, "v1 takes one picture and one question, .*; got 2 pictures"),
        ("?", {"images": [png()], "system": "s"}, "without a system prompt"),
        ([{"role": "user", "content": "a"}] * 3, {"images": [png()]}, "and 3 messages"),
        ("?", {"images": ["https://example.com/a.png"]}, "v1 fetches no pictures"),
        ("?", {"images": [png(14, 20)]}, r"is 14 x 20 pixels; each side has to be from 15 to 4096"),
        ("?", {"images": [png()], "image": "x"}, "image= is not a parameter"),
        ("?", {"images": [png()], "model": "ernie-4.0-8k"}, "'ernie-4.0-8k' does not see pictures in v1"),
        ("?", {"images": "cat.png"}, r"images is a list, even for one"),
    ],
)
def test_v1_refuses_what_its_endpoint_does_not_take(server, connect, prompt, options, words):
    model = options.get("model", "fuyu-8b")
    if isinstance(options["images"], str):
        with pytest.raises(ConfigurationError, match=words):
            connect("v2").chat(prompt, images=options["images"])
        return
    with pytest.raises(ConfigurationError, match=words):
        connect("v1").chat(prompt, **{**options, "model": model})
    assert server.requests == []


def test_dialects_without_pictures_say_which_has_them(server, connect):
    with pytest.raises(ConfigurationError, match="text_generation takes no pictures: use dialect='v2'"):
        connect().chat("?", images=[png()])
    with pytest.raises(ConfigurationError, match=r"v1 looks at one picture .* without a history"):
        connect("v1").conversation().say("?", images=[png()])
    with pytest.raises(ConfigurationError, match="the last message has to be one of the user's"):
        connect("v2").chat([{"role": "assistant", "content": "a"}], images=[png()])
    assert server.requests == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "the given data is no picture: it looks like nothing: it is empty"),
        (b"%PDF-1.7", "looks like a PDF document. Taken are PNG, JPEG, WEBP, BMP, GIF"),
        (b"  <!DOCTYPE html>", "looks like an HTML page"),
        (b"<svg xmlns=", "looks like an SVG drawing"),
        (b"\0\0\0\x1cftypheic", "looks like HEIC, AVIF or a film: save it as JPEG or PNG"),
        (base64.b64encode(png()), "looks like a PNG picture in base64: decode it first"),
        (b"BMW is a car maker in Munich", "looks like text"),
        (b"\x00\x01\x02\xff", "binary data that begins with 00 01 02 ff"),
        (io.StringIO("a"), "open it with 'rb'"),
        (7, "a picture is a path, a URL, bytes, or a file opened with 'rb'; got int"),
        ("no/such/cat.png", "cannot read the picture 'no/such/cat.png': No such file.* taken for a path unless"),
        ("x" * 5000, r"cannot read the picture 'x{100}…'"),
        ("a\0b", "cannot read the picture"),
        ("data:image/png,abc", "reads data:image/png;base64"),
        ("data:image/png;base64,*", "does not hold base64"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_it_looks_like(source, words):
    with pytest.raises(ConfigurationError, match=words):
        image(source)


def test_what_is_too_large_is_refused_with_its_size_a_file_before_it_is_read(tmp_path, monkeypatch):
    most = RULES["v2"].max_bytes
    with pytest.raises(ConfigurationError, match=rf"the given data has {most + 1} bytes, {most} at most \(10 MB\)"):
        image(png() + bytes(most + 1 - len(png())))
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(most + 1)
    monkeypatch.setattr(type(path), "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(ConfigurationError, match=rf"large.png' has {most + 1} bytes"):
        image(path)
    assert RULES["v1"].max_bytes == 4 * 1024 * 1024


@pytest.mark.parametrize(("dialect", "model"), [("v2", "ernie-4.5-turbo-vl"), ("v1", "fuyu-8b")])
def test_the_mock_takes_them(dialect, model):
    with MockServer(port=0) as server:
        account = server.account()
        with Client(server.url, account.credentials, dialect=dialect, model=model) as client:
            assert client.chat("看图", images=[png()]).text
        assert base64.b64encode(png()) in account.requests[-1].body
