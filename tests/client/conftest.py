from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from redis_server import RedisServer
from scripted_server import FakeClock, ScriptedServer

from qfkit.client import Client, Credentials

#: Keys for every scheme; none of them is real.
KEYS = Credentials(
    access_key="ALTAKFAKEACCESSKEY000000",
    secret_key="0123456789abcdef0123456789abcdef",
    ak="FAKE_API_KEY_0001",
    sk="FAKE_SECRET_KEY_0001",
    access_token="24.FAKEaccesstoken.2592000.1700000000.282335-1",
    bearer_token="bce-v3/ALTAK-FAKE0000000000000/0123456789abcdef0123456789abcdef01234567",
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys() -> Credentials:
    return KEYS


@pytest.fixture
def only() -> Callable[..., Credentials]:
    """The fake keys, but only those named."""

    def pick(*names: str) -> Credentials:
        others = {field.name: None for field in dataclasses.fields(KEYS) if field.name not in names}
        return dataclasses.replace(KEYS, **others)

    return pick


@pytest.fixture
def connect(server: ScriptedServer, clock: FakeClock) -> Iterator[Callable[..., Client]]:
    """Makes clients of the scripted server, on the fake clock, with seeded jitter; closes them."""
    made: list[Client] = []

    def make(dialect: Any = "text_generation", credentials: Credentials = KEYS, **more: Any) -> Client:
        more.setdefault("base_url", server.url)
        more.setdefault("clock", clock)
        more.setdefault("random", Random(7))
        client = Client(credentials=credentials, dialect=dialect, **more)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    # Not pytest's own folder: the path of a socket may have no more than some 100 characters.
    with tempfile.TemporaryDirectory(prefix="qf") as folder:
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.die()
