"""Naming a client's mistake by trying: the engine under ``explain``, the same for both schemes.

A scheme offers guesses, the likeliest first. A guess is a string that a client with some mistake would have signed, and
the key that it would have used. The first guess whose digest is the one that the client sent is what the client did:
by the nature of HMAC that is certain, not likely. How the client spelt its digest (hex, base64, ...) and which hash it
used cost no guesses: the text of the signature tells them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias
from urllib.parse import unquote

from qfkit.protocol.signing.canonical import Canonical, octets

#: A refusal must stay cheap: most digests to compute for one, and most bytes to hash.
MAX_TRIES = 1200
MAX_BYTES = 32 * 1024 * 1024

Mac: TypeAlias = Callable[[bytes, bytes, str], bytes]

_HASH_OF_LENGTH = {20: "sha1", 28: "sha224", 32: "sha256", 48: "sha384", 64: "sha512"}


def hmac_of(key: bytes, message: bytes, algorithm: str) -> bytes:
    """HMAC as it should be."""
    return hmac.digest(key, message, algorithm)


def swapped(key: bytes, message: bytes, algorithm: str) -> bytes:
    """HMAC with its arguments swapped."""
    return hmac.digest(message, key, algorithm)


def key_first(key: bytes, message: bytes, algorithm: str) -> bytes:
    """No HMAC: a hash over key, then message."""
    return hashlib.new(algorithm, key + message).digest()


def key_last(key: bytes, message: bytes, algorithm: str) -> bytes:
    """No HMAC: a hash over message, then key."""
    return hashlib.new(algorithm, message + key).digest()


class Signed(Protocol):
    """A string that a client may have signed."""

    def message(self) -> bytes:
        """Its bytes: what every try needs."""

    def canonical(self) -> Canonical:
        """The same with labels: what the one right try needs."""


class Guess(NamedTuple):
    """What a client may have signed. Hundreds are made for one refusal, so what only a report needs is left unbuilt.

    Attributes:
        causes: names of the mistakes; empty for none at all.
        expected: gives what the server would have built for a client of this habit.
        signed: the string, given the mistakes.
        key: of the HMAC, given the mistakes.
        mac: how key and string became a digest.
    """

    causes: tuple[str, ...]
    expected: Callable[[], Canonical]
    signed: Signed
    key: bytes
    mac: Mac = hmac_of


@dataclass(frozen=True, slots=True)
class Digest:
    """A reading of the signature that a client sent: the digest, its hash and the mistakes in how it was spelt."""

    value: bytes
    algorithm: str
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What the search came to: the mistake, if it was found, and how many digests it took."""

    guess: Guess | None
    tries: int


def search(guesses: Iterable[Guess], digest: Digest) -> Found:
    """The first guess that gives ``digest``; none when the guesses or the means run out."""
    # Hashes in place of the strings themselves: hundreds of copies of a large body would not do.
    tried: set[int] = set()
    hashed = 0
    algorithm, wanted = digest.algorithm, digest.value
    for causes, expected, signed, key, mac in guesses:
        message = signed.message()
        fingerprint = hash((message, key, mac))
        if fingerprint in tried:
            continue
        if len(tried) >= MAX_TRIES or hashed > MAX_BYTES:
            break
        tried.add(fingerprint)
        hashed += len(message)
        if hmac.compare_digest(mac(key, message, algorithm), wanted):
            return Found(Guess(causes, expected, signed, key, mac), len(tried))
    return Found(None, len(tried))


def read_digest(signature: str, *, wants_hex: bool) -> Digest | None:
    """The digest behind a signature, however it is spelt; None when it is no digest.

    Args:
        signature: the text of the header.
        wants_hex: True where the scheme wants lower-case hex, False where it wants base64.
    """
    for cause, undo in _WRAPPINGS:
        inner = undo(signature)
        if inner is None:
            continue
        read = _from_hex(inner, wants_hex=wants_hex) or _from_base64(inner, wants_hex=wants_hex)
        if read is not None:
            algorithm = _HASH_OF_LENGTH[len(read.value)]
            other_hash = () if algorithm == "sha256" else (f"hash-{algorithm}",)
            return Digest(read.value, algorithm, (*((cause,) if cause else ()), *read.causes, *other_hash))
    return None


def _same(text: str) -> str | None:
    return text


def _bytes_repr(text: str) -> str | None:
    found = re.fullmatch(r"""b(['"])(.*)\1""", text)
    return found[2] if found else None


def _percent(text: str) -> str | None:
    return unquote(text) if "%" in text else None


#: What a signature may come wrapped in: (cause, how to take it off, None when it is not there).
_WRAPPINGS: tuple[tuple[str, Callable[[str], str | None]], ...] = (
    ("", _same),
    ("signature-bytes-repr", _bytes_repr),
    ("signature-percent-encoded", _percent),
)


def _from_hex(text: str, *, wants_hex: bool) -> Digest | None:
    if not re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", text) or len(text) / 2 not in _HASH_OF_LENGTH:
        return None
    wrong = ("signature-upper-case",) if text != text.lower() else ()
    return Digest(bytes.fromhex(text), "", wrong if wants_hex else ("signature-hex",))


def _from_base64(text: str, *, wants_hex: bool) -> Digest | None:
    if not re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", text) or len(text) > 200:
        return None
    causes: list[str] = ["signature-base64"] if wants_hex else []
    standard = text.translate(str.maketrans("-_", "+/"))
    if standard != text:
        causes.append("signature-urlsafe")
    padded = standard + "=" * (-len(standard) % 4)
    if padded != standard:
        causes.append("signature-unpadded")
    try:
        value = base64.b64decode(padded, validate=True)
    except binascii.Error:
        return None
    if base64.b64encode(value).decode("ascii") != padded:
        return None  # stray bits after the digest: another text than any encoder writes
    if inner := _from_hex(value.decode("latin-1"), wants_hex=True):
        return Digest(inner.value, "", (*causes, "signature-base64-of-hex"))
    return Digest(value, "", tuple(causes)) if len(value) in _HASH_OF_LENGTH else None


def digest_hint(signature: str, *, wants_hex: bool) -> str:
    """Why a signature is no digest, as the end of a sentence."""
    wanted = "64 lower-case hex digits" if wants_hex else "44 characters of base64"
    return f"it has {len(octets(signature))} bytes and reads as no digest; HMAC-SHA256 is {wanted}"
