"""The reference client passes every case, in every dialect and with every kind of key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import ClassVar

from qfkit import Client
from qfkit.testing.conformance import CASES, Conformance


class _Reference(Conformance):
    read_timeout = 60.0
    packages = ("qfkit", "requests")

    def make(self, env: Mapping[str, str]) -> Client:
        return Client.from_env(env, dialect=self.dialect, random=Random(1))

    def call(self, prompt: str) -> str:
        return self.client.chat(prompt).text

    def stream(self, prompt: str) -> Iterator[str]:
        with self.client.stream(prompt) as chunks:
            for chunk in chunks:
                yield chunk.text


class TestReferenceTextGeneration(_Reference):
    dialect = "text_generation"


class TestReferenceV1(_Reference):
    dialect = "v1"


class TestReferenceV2(_Reference):
    dialect = "v2"


class TestReferenceLines(_Reference):
    """The same streams, a JSON object a line: it reads what comes."""

    dialect = "text_generation"
    framing = "lines"
    cases: ClassVar = [case for case in CASES if case.streamed]
