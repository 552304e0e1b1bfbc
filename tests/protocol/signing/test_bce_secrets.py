"""Fields of an Authorization that stand in the wrong place are told, and never told in full where they are secrets."""

from __future__ import annotations

import itertools

import pytest

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import explain, sign_bce

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_714_550_400
HEADERS = {"host": "127.0.0.1:1", "x-bce-date": "2024-05-01T08:00:00Z"}
GOOD = sign_bce(
    access_key="ALTAKFAKEACCESSKEY000000",
    secret_key=SECRET,
    method="POST",
    path="/v1/x",
    params=[],
    headers=HEADERS,
    timestamp=NOW,
    expiration=1800,
    signed_headers=["host", "x-bce-date"],
)
SIGNATURE = GOOD.rpartition("/")[2]
FIELDS = GOOD.split("/")


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        f"Bearer {SECRET}",
        f"{SECRET}/{SIGNATURE}",
        *("/".join(order) for order in itertools.permutations(FIELDS)),
        *("/".join([*FIELDS[:4], f"host;{secret}", FIELDS[5]]) for secret in (SECRET, SIGNATURE)),
        *("/".join([*FIELDS[:4], f"host;;{secret}", FIELDS[5]]) for secret in (SECRET, SIGNATURE)),
        *("/".join([*FIELDS[:2], secret, *FIELDS[3:]]) for secret in (SECRET, SIGNATURE)),
        *("/".join([*FIELDS[:3], secret, *FIELDS[4:]]) for secret in (SECRET, SIGNATURE)),
    ],
)
def test_no_secret_and_no_good_signature_is_told(value):
    headers = (*HEADERS.items(), ("Authorization", value))
    # Whoever names another access key is nobody, and has no secret.
    secret = SECRET if "/ALTAKFAKEACCESSKEY000000/" in value[:40] else None
    verdict = explain(HttpRequest("POST", "/v1/x", headers, b"{}"), secret, now=NOW, scheme="bce-auth-v1")
    told = verdict.message + verdict.render() + str(verdict.to_dict())
    for hidden in (SECRET, SIGNATURE):
        assert not [start for start in range(len(hidden) - 11) if hidden[start : start + 12] in told]
