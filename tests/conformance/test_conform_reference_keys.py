"""The reference client with its other kinds of keys: what is about keys it passes with them too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from qfkit import Client, Credentials
from qfkit.testing.conformance import CASES, Conformance

ABOUT_KEYS = [case for case in CASES if case.area in {"signature", "tokens"} or case.name == "errors/wrong-keys"]


class _Pair(Conformance):
    """Keys of IAM alone."""

    cases: ClassVar = ABOUT_KEYS
    options: ClassVar[Mapping[str, str]] = {}

    def make(self, env: Mapping[str, str]) -> Client:
        pair = Credentials(access_key=env["QIANFAN_ACCESS_KEY"], secret_key=env["QIANFAN_SECRET_KEY"])
        return Client(env["QIANFAN_BASE_URL"], pair, self.dialect, **self.options)

    def call(self, prompt: str) -> str:
        return self.client.chat(prompt).text

    def stream(self, prompt: str) -> list[str]:
        with self.client.stream(prompt) as chunks:
            return [chunk.text for chunk in chunks]


class TestReferenceV1Signed(_Pair):
    dialect = "v1"
    signs = True


class TestReferenceV2Bought(_Pair):
    dialect = "v2"
    tokens = True
