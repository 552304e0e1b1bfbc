"""Everyone who is measured, ours and others', as one kind of thing: how to start it and what to send it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import PEERS, Installed, Peer
from benchmarks.processes import Launch, own_module, qfkit_command
from benchmarks.work import (
    JSON_KEYS,
    MADE_UP_KEYS,
    PACED_KEYS,
    SSE_KEYS,
    TEXT,
    Batch,
    Keys,
    mock_config,
    peer_batch,
    signed_batch,
)

QFKIT = "qfkit"
MADE_UP = "qfkit, made-up answers"
FLASK = "qfkit, through Flask"
STAND_IN, AIMOCK, HTTPSERVER = "SDK's mock (stand-in)", "aimock", "pytest-httpserver"
HTTPSERVER_THREADED, AIMOCK_PACED = "pytest-httpserver, threaded", "aimock, 50 ms"

#: What the targets are measured against; a quick run leaves the others out.
RIVALS = (STAND_IN, AIMOCK, HTTPSERVER)


@dataclass(frozen=True, slots=True)
class Contender:
    """Someone who is measured.

    Attributes:
        name: in the tables.
        launch: how it is started.
        batch: (port, count) -> requests. Peers take one request over and over and do not mind the count.
        signs: every request is new, so there must be enough of them.
    """

    name: str
    launch: Launch
    batch: Callable[[int, int], Batch]
    signs: bool = False


def ours(kind: str, scratch: Path) -> list[Contender]:
    """The mock, at one kind of work: ``json``, ``sse`` or ``paced``."""
    config = scratch / "qfkit.yaml"
    config.write_text(mock_config(), "utf-8")
    keys = {"json": JSON_KEYS, "sse": SSE_KEYS, "paced": PACED_KEYS}[kind]
    expect = TEXT.encode() if kind == "json" else b"token19"

    def mock(port: int) -> list[str]:
        return qfkit_command("mock", "--port", str(port), "--config", str(config), "--json")

    def flask(port: int) -> list[str]:
        return own_module("servers.flask_door", str(port), str(config))

    found = [signed(QFKIT, mock, keys, kind, expect)]
    if kind == "json":
        found += [signed(MADE_UP, mock, MADE_UP_KEYS, kind, b"result"), signed(FLASK, flask, keys, kind, expect)]
    return found


def signed(name: str, command: Callable[[int], list[str]], keys: Keys, kind: str, expect: bytes = b"") -> Contender:
    """A mock of ours that answers requests signed with ``keys``."""
    stream = kind != "json"

    def batch(port: int, count: int) -> Batch:
        return signed_batch(port, keys, count, stream=stream)

    launch = Launch(name=name, command=command, probe=lambda port: batch(port, 1).first(), expect=expect)
    return Contender(name, launch, batch, signs=True)


def others(kind: str, here: Installed, names: Sequence[str], scratch: Path) -> list[Contender]:
    """The named peers that can do this kind of work and are installed."""
    return [
        _contender(peer, kind, here, scratch)
        for peer in PEERS
        if peer.name in names and kind in peer.kinds and here.why_not(peer) is None
    ]


def _contender(peer: Peer, kind: str, here: Installed, scratch: Path) -> Contender:
    for name, text in peer.files.items():
        (scratch / name).write_text(text, "utf-8")
    stream = kind != "json"

    def words(port: int) -> dict[str, str]:
        return {**here.words(), "port": str(port), "files": str(scratch)}

    def command(port: int) -> list[str]:
        # Split first: a folder's name may hold a space.
        return [word.format_map(words(port)) for word in shlex.split(peer.command)]

    def environment(port: int) -> dict[str, str]:
        return {name: value.format_map(words(port)) for name, value in peer.environment.items()}

    launch = Launch(
        name=peer.name,
        command=command,
        probe=lambda port: peer_batch(port, stream=stream).first(),
        environment=environment,
        prepare=(lambda port: _post(port, *peer.prepare)) if peer.prepare else None,  # type: ignore[misc]
        # Characters one by one have no word in them; a JSON string has, and so has every other stream.
        expect=b"token00" if kind == "json" else b"data:",
    )
    return Contender(peer.name, launch, lambda port, _count: peer_batch(port, stream=stream))


def _post(port: int, path: str, data: object) -> bytes:
    body = json.dumps(data).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
