from __future__ import annotations

from collections.abc import Iterator

import pytest

from mock_server import MockServer


@pytest.fixture(scope="module")
def server() -> Iterator[MockServer]:
    with MockServer(port=0) as server:
        yield server


@pytest.fixture
def account(server):
    return server.account()
