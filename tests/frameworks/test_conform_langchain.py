"""LangChain's two ways to Qianfan, held to the conformance suite: what they add to, and hide of, the clients below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from frameworks_helpers import needed

needed("langchain_openai", "langchain_community.chat_models", "qianfan")

from langchain_community.chat_models import QianfanChatEndpoint  # noqa: E402
from langchain_openai import ChatOpenAI  # noqa: E402
from qianfan import config  # noqa: E402
from qianfan.resources.llm.base import BaseResource  # noqa: E402
from qianfan.resources.rate_limiter import rate_limiter  # noqa: E402

from qfkit.testing.conformance import Conformance  # noqa: E402

_LINES = "the SDK below reads lines, not events: one that begins neither with `data: ` nor with `event: ` is an error"
_JSON_LINES = "the SDK below takes every data line for JSON of its own"
_STATUSES = "the SDK below tries nothing again for an HTTP status, only for a code and for a lost connection"
_YOUNG = "the SDK below renews no token that is younger than an hour, and so fails"


class _LangChain(Conformance):
    def call(self, prompt: str) -> Any:
        return self.client.invoke(prompt).content

    def stream(self, prompt: str) -> Iterator[Any]:
        for chunk in self.client.stream(prompt):
            yield chunk.content


class TestLangChainOpenAI(_LangChain):
    dialect = "v2"
    packages = ("langchain-openai", "openai")
    read_timeout = 600.0  # what openai-python has by default, and what its users reckon with
    deviations: ClassVar = {
        **dict.fromkeys(
            ("stalls/before-the-first", "stalls/after-the-first"),
            "it hands timeout=None to openai-python, which then waits for ever, unless told: ChatOpenAI(timeout=60)",
        ),
        **dict.fromkeys(
            ("cuts/inside-an-event", "cuts/no-end-event"),
            "openai-python takes the end of the body for the end of the answer; LangChain looks only whether any came",
        ),
        **dict.fromkeys(
            ("fields/bom", "splits/inside-the-bom"),
            "the decoder of openai-python keeps a byte order mark, so that the first event is lost",
        ),
        "fields/no-data": "the decoder of openai-python hands on events without data, and their empty text is no JSON",
        "damage/bad-utf-8": "the decoder of openai-python is strict, and lets the UnicodeDecodeError through",
        "damage/not-an-object": "it counts on an object, and falls over anything else",
        "answers/empty-object": "it raises a TypeError, though one with good words",
    }

    def make(self, env: Mapping[str, str]) -> ChatOpenAI:
        return ChatOpenAI(model="ernie-4.0-8k")


class TestLangChainQianfan(_LangChain):
    dialect = "v1"
    packages = ("langchain-community", "qianfan")
    read_timeout = 60.0  # its default
    deviations: ClassVar = {
        "comments/*": _LINES,
        **dict.fromkeys(
            (
                *("stalls/comments", "fields/bom", "splits/inside-the-bom", "fields/ids", "fields/indented"),
                *("fields/no-colon", "fields/no-space", "fields/retry", "fields/retry-no-number", "fields/tab"),
                *("fields/unknown", "fields/upper-case"),
            ),
            _LINES,
        ),
        **dict.fromkeys(("fields/two-data-lines", "fields/many-data-lines"), _JSON_LINES),
        **dict.fromkeys(("errors/bad-gateway-once", "errors/unavailable-once"), _STATUSES),
        **dict.fromkeys(("tokens/expired", "tokens/expired-streamed", "tokens/revoked"), _YOUNG),
        **dict.fromkeys(
            ("answers/list", "answers/null", "answers/empty-object", "damage/no-text", "damage/not-an-object"),
            "it counts on an object with the members of an answer, and falls over anything else",
        ),
        "errors/secret-free": "RequestError of the SDK below quotes the URL, and the access token with it",
        "cuts/no-end-event": "it takes the end of the body for the end of the answer, and looks for no end event",
        "ends/open-connection": "it reads until the connection closes: is_end ends nothing for it",
        "damage/bad-utf-8": "the SDK below decodes lines strictly, and lets the UnicodeDecodeError through",
        "answers/content-type-latin-1": "requests decodes the text by the charset of the head",
    }

    @pytest.fixture(autouse=True)
    def _state_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        # The SDK below keeps a configuration, a table of limiters and one of models for the whole process.
        limiters: dict[str, Any] = {}
        monkeypatch.setattr(rate_limiter, "_RATE_LIMITER_MAP", limiters)
        monkeypatch.setattr(BaseResource, "_runtime_models_info", {})
        self.monkeypatch = monkeypatch
        yield
        monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)
        for limiter in limiters.values():  # each has threads that poll for as long as the process lives
            for name in ("_internal_qp10s_rate_limiter", "_internal_rpm_rate_limiter", "_internal_qps_rate_limiter"):
                if hasattr(limiter, name):
                    getattr(limiter, name)._sync_limiter.stop()

    def make(self, env: Mapping[str, str]) -> QianfanChatEndpoint:
        for name in ("ACCESS_KEY", "SECRET_KEY", "ACCESS_TOKEN", "BEARER_TOKEN"):
            self.monkeypatch.delenv(f"QIANFAN_{name}", raising=False)
        self.monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)
        return QianfanChatEndpoint(model="ERNIE-4.0-8K")
