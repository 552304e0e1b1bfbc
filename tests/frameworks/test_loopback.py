"""The guard itself: it lets loopback through, and stops and remembers the rest."""

from __future__ import annotations

import socket

import pytest
import requests
from frameworks_helpers import GUARD, needed

needed("litellm")  # the hook stays with the process: only where frameworks are tested


def test_loopback_is_let_through(account):
    assert requests.get(f"{account.url}/v2/models", timeout=10).status_code == 401


@pytest.mark.parametrize("where", [("192.0.2.1", 80), ("2001:db8::1", 80)])
def test_an_address_beyond_is_stopped(where):
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    with socket.socket(family) as made, pytest.raises(OSError, match="asked for the network"):
        made.connect(where)
    assert str(where) in GUARD.strays.pop()


def test_a_name_is_not_even_looked_up():
    with pytest.raises(OSError, match="asked for the network"):
        socket.create_connection(("example.com", 80))
    assert "example.com" in GUARD.strays.pop()
