"""Pictures to look at: from a path, bytes, an open file or a URL to the form in which each dialect takes them.

v2 takes them as parts of a message's content: an address that the service fetches itself, or the picture in base64
(4.1). v1 has one endpoint for them, ``/image2text/...``, which takes one picture with one question (3.7).
text_generation has none. Nothing here opens a connection: a URL is passed on as it stands. File names are not sent.
"""

from __future__ import annotations

import base64
import binascii
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias
from urllib.parse import urlsplit

from qfkit.client.calls import Call, Prompt, as_messages, operation_call, v1_endpoint
from qfkit.client.exceptions import ConfigurationError
from qfkit.protocol.dialects import V1_PREFIX, InferenceDialect
from qfkit.protocol.messages import Json, content_text
from qfkit.protocol.models import by_name

#: A path, a URL (``http``, ``https`` or ``data``), the bytes of a picture, or a file that is open for reading them.
ImageSource: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_MB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageRules:
    """What a dialect takes.

    Attributes:
        formats: MIME types.
        max_bytes: most bytes of the picture itself, before base64.
        sides: shortest and longest side in pixels, None where no document says.
        guess: names of the fields above that no source gives.
    """

    formats: tuple[str, ...]
    max_bytes: int
    sides: tuple[int, int] | None
    guess: tuple[str, ...]


_FORMATS: Final = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif")

#: v1: 3.7, which names no formats. v2: 4.1 shows PNG; that there are bounds for the sides is known from an error text
#: (5.2), their values are not, so the service is left to judge them.
RULES: Final[Mapping[str, ImageRules]] = {
    "v1": ImageRules(_FORMATS, 4 * _MB, (15, 4096), ("formats",)),
    "v2": ImageRules(_FORMATS, 10 * _MB, None, ("formats", "max_bytes")),
}

#: First bytes -> MIME type: PNG (RFC 2083), JPEG (ITU T.81), GIF87a and GIF89a, BMP. WebP is RIFF inside (RFC 9649).
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
#: First bytes -> what it is instead, for who picked the wrong file.
_OTHERS: Final = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "XML, maybe an SVG drawing"),
    (b"<!", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"{", "JSON"),
    (b"iVBORw0KGgo", "a PNG picture in base64: decode it first"),
    (b"/9j/", "a JPEG picture in base64: decode it first"),
)
_DETAILS: Final = ("auto", "low", "high")


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a picture, checked.

    Attributes:
        data: the bytes.
        mime: what they are.
        size: width and height in pixels, None where the header does not say.
    """

    data: bytes
    mime: str
    size: tuple[int, int] | None

    @property
    def base64(self) -> str:
        """The bytes as text."""
        return base64.b64encode(self.data).decode("ascii")


def image(source: ImageSource, detail: str | None = None) -> Json:
    """A picture as a part of a message's content (v2, 4.1).

    ``{"role": "user", "content": [{"type": "text", "text": "看图"}, image("cat.png")]}`` is such a message; for the
    common case ``client.chat("看图", images=["cat.png"])`` writes it for you.

    Args:
        source: a path, bytes, a file opened with ``"rb"``, or a URL: ``http(s)``, which the service fetches, or
            ``data:``. Never fetched here.
        detail: ``low``, ``high`` or ``auto``: how closely to look, where the model has the choice.

    Raises:
        ConfigurationError: not a picture, too large, not there: says which and what to do.
    """
    if detail is not None and detail not in _DETAILS:
        raise ConfigurationError(f"detail is one of {', '.join(_DETAILS)}; got {detail!r}")
    url = source if _is_web(source) else None
    if url is None:
        picture = read_picture(source, RULES["v2"])
        url = f"data:{picture.mime};base64,{picture.base64}"
    inner = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": inner}


def with_images(dialect: InferenceDialect, prompt: Prompt, images: Sequence[ImageSource]) -> list[Json]:
    """The messages of a prompt, with the pictures in front of the text of the last one of the user's.

    Raises:
        ConfigurationError: the dialect's messages hold no pictures, or one of them is none.
    """
    messages = as_messages(prompt)
    if isinstance(images, (str, bytes, bytearray, os.PathLike)):
        raise ConfigurationError("images is a list, even for one: images=['cat.png']")
    if not images:
        return messages
    if dialect != "v2":
        raise ConfigurationError(_NO_PICTURES[dialect])
    if not messages or messages[-1].get("role") != "user":
        raise ConfigurationError("images belong to a question: the last message has to be one of the user's")
    last = messages[-1]
    content = last.get("content")
    said = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    return [*messages[:-1], {**last, "content": [*map(image, images), *said]}]


_NO_PICTURES: Final = {
    "text_generation": "text_generation takes no pictures: use dialect='v2' with a model that sees, such as "
    "'ernie-4.5-turbo-vl', or dialect='v1' with 'fuyu-8b'",
    "v1": "v1 looks at one picture with one question, without a history: client.chat('…', images=['cat.png'], "
    "model='fuyu-8b'). For pictures in a conversation use dialect='v2'",
}


def image2text_call(
    prompt: Prompt,
    images: Sequence[ImageSource],
    *,
    model: str,
    system: str | None,
    params: Mapping[str, Any],
    stream: bool,
) -> Call:
    """The v1 request that asks one question about one picture (3.7). Arguments as `calls.chat_call`.

    Raises:
        ConfigurationError: more than that, a model that does not see, or a picture that the endpoint does not take.
    """
    messages = as_messages(prompt)
    text = content_text(messages[0].get("content")) if len(messages) == 1 else ""
    if len(images) != 1 or system is not None or not text:
        raise ConfigurationError(
            f"v1 takes one picture and one question, without a system prompt or a history; got {len(images)} pictures "
            f"and {len(messages)} messages. Use dialect='v2' for more"
        )
    if _is_web(images[0]):
        raise ConfigurationError(
            "v1 fetches no pictures: read the picture yourself and give its bytes, or use dialect='v2'"
        )
    known = by_name(model)
    if not model.startswith("/image2text/") and (known is None or known.kind != "image2text"):
        raise ConfigurationError(
            f"{model!r} does not see pictures in v1: name one that does, model='fuyu-8b', or a service of your own by "
            "its path, model='/image2text/my_service'"
        )
    for own in ("prompt", "image", "messages", "stream"):
        if own in params:
            raise ConfigurationError(f"{own}= is not a parameter: it is set from the arguments of the call")
    body: Json = {"prompt": text, "image": read_picture(images[0], RULES["v1"]).base64}
    if stream:
        body["stream"] = True
    body.update((name, value) for name, value in params.items() if value is not None)
    path = V1_PREFIX + v1_endpoint(model, "image2text")
    call = operation_call("v1", "image2text", path, body, model=model, texts=[text])
    return replace(call, stream=True, accept="*/*") if stream else call


def read_picture(source: ImageSource, rules: ImageRules) -> Picture:
    """The picture at ``source``, if it is one that ``rules`` allow.

    Raises:
        ConfigurationError: as `image`.
    """
    data, where = _bytes_of(source, rules.max_bytes)
    mime = sniff(data)
    if mime is None:
        raise ConfigurationError(f"{where} is no picture: it looks like {_looks_like(data)}. {_takes(rules)}")
    if mime not in rules.formats:
        raise ConfigurationError(f"{where} is {mime}, which is not taken. {_takes(rules)}")
    if len(data) > rules.max_bytes:
        raise ConfigurationError(_too_large(where, len(data), rules.max_bytes))
    size = dimensions(data, mime)
    if rules.sides is not None and size is not None and not all(rules.sides[0] <= x <= rules.sides[1] for x in size):
        raise ConfigurationError(
            f"{where} is {size[0]} x {size[1]} pixels; each side has to be from {rules.sides[0]} to {rules.sides[1]}. "
            "Scale it"
        )
    return Picture(data, mime, size)


def sniff(data: bytes) -> str | None:
    """The MIME type by the first bytes, None when it is no picture that is known here. Names are not trusted."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    # "BM" alone begins many a text; a bitmap says its own header's size next (12 to 124 bytes).
    return next(
        (mime for magic, mime in _MAGIC if data.startswith(magic) and (magic != b"BM" or _is_bitmap(data))), None
    )


def dimensions(data: bytes, mime: str) -> tuple[int, int] | None:
    """Width and height in pixels as the header tells, None when it is cut off or of a rare form."""
    try:
        return _DIMENSIONS[mime](data)
    except (struct.error, IndexError):
        return None


def _is_web(source: ImageSource) -> bool:
    if not isinstance(source, str) or not source.lower().startswith(("http://", "https://")):
        return False
    if not urlsplit(source).hostname:
        raise ConfigurationError(f"the picture's address {source!r} names no host")
    return True


def _bytes_of(source: ImageSource, most: int) -> tuple[bytes, str]:
    """The bytes, and how to speak of them."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "the given data"
    if isinstance(source, str) and source.startswith("data:"):
        return _data_url(source), "the picture in the data: URL"
    if isinstance(source, (str, os.PathLike)):
        return _file(Path(source), most), f"the file {os.fspath(source)!r}"
    if not callable(getattr(source, "read", None)):
        raise ConfigurationError(
            f"a picture is a path, a URL, bytes, or a file opened with 'rb'; got {type(source).__name__}"
        )
    data: object = source.read()
    if not isinstance(data, bytes):
        raise ConfigurationError("the picture's file gives text: open it with 'rb', for bytes")
    return data, "the given file"


def _file(path: Path, most: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > most:  # before it fills the memory
            raise ConfigurationError(_too_large(f"the file '{path}'", size, most))
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        shown = str(path) if len(str(path)) <= 100 else f"{str(path)[:100]}…"
        raise ConfigurationError(
            f"cannot read the picture {shown!r}: {reason}. A text is taken for a path unless it begins with http://, "
            "https:// or data:; give the picture itself as bytes"
        ) from error


def _data_url(url: str) -> bytes:
    head, comma, text = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise ConfigurationError("a data: URL of a picture reads data:image/png;base64,… (RFC 2397)")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ConfigurationError(f"the data: URL does not hold base64: {error}") from error


def _too_large(where: str, size: int, most: int) -> str:
    return f"{where} has {size} bytes, {most} at most ({most // _MB} MB). Scale the picture, or save it as JPEG"


def _takes(rules: ImageRules) -> str:
    return f"Taken are {', '.join(mime.removeprefix('image/').upper() for mime in rules.formats)}"


def _looks_like(data: bytes) -> str:
    if not data:
        return "nothing: it is empty"
    if data[4:8] == b"ftyp":
        return "HEIC, AVIF or a film: save it as JPEG or PNG"
    head = data.lstrip()[:32].lower()
    found = next((name for magic, name in _OTHERS if head.startswith(magic.lower())), None)
    if found is not None:
        return found
    try:
        data[:64].decode("ascii")
    except UnicodeDecodeError:
        return f"binary data that begins with {data[:8].hex(' ')}"
    return "text"


def _is_bitmap(data: bytes) -> bool:
    return len(data) >= 26 and struct.unpack_from("<I", data, 14)[0] in (12, 40, 52, 56, 64, 108, 124)


def _two(form: str, offset: int) -> Callable[[bytes], tuple[int, int]]:
    def read(data: bytes) -> tuple[int, int]:
        width, height = struct.unpack_from(form, data, offset)
        return width, abs(height)

    return read


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return _two("<HH", 18)(data)
    return _two("<ii", 18)(data)  # a negative height is a picture that stands on its head


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """From the frame header, behind as many segments as there are (ITU T.81, B.2)."""
    place = 2
    while place < len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD7:  # fill bytes, and markers without a segment
            place += 1 if marker == 0xFF else 2
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return None


_DIMENSIONS: Final[Mapping[str, Callable[[bytes], tuple[int, int] | None]]] = {
    "image/png": _two(">II", 16),
    "image/gif": _two("<HH", 6),
    "image/bmp": _bmp,
    "image/webp": _webp,
    "image/jpeg": _jpeg,
}
