"""The official SDK on v1 (OAuth and IAM signature) and v2, as it is made from its environment alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
import qianfan
from conform_sample import sample
from qianfan import config
from qianfan.resources.llm.base import BaseResource
from qianfan.resources.rate_limiter import rate_limiter

from qfkit.testing.conformance import Conformance

pytestmark = pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utc(now|fromtimestamp)\(\) is deprecated:DeprecationWarning:(qianfan|baidubce)\."
)


class _Official(Conformance):
    packages = ("qianfan",)
    read_timeout = 300.0  # its default
    keys = ("QIANFAN_AK", "QIANFAN_SK")
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _state_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        # It keeps a configuration, a table of limiters and one of models for the whole process.
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

    def make(self, env: Mapping[str, str]) -> qianfan.ChatCompletion:
        every = ("AK", "SK", "ACCESS_KEY", "SECRET_KEY", "ACCESS_TOKEN", "BEARER_TOKEN")
        for name in {f"QIANFAN_{each}" for each in every} - set(self.keys):
            self.monkeypatch.delenv(name, raising=False)
        self.monkeypatch.setattr(config, "_GLOBAL_CONFIG", None)
        return qianfan.ChatCompletion(**self.options)

    def call(self, prompt: str) -> Any:
        return self.text(self.client.do(**_ask(prompt)).body)

    def stream(self, prompt: str) -> Iterator[Any]:
        for event in self.client.do(**_ask(prompt), stream=True):
            yield self.text(event.body)

    def text(self, body: Any) -> Any:
        """What a user of it takes out of an answer or an event."""
        if self.dialect == "v1":
            return body["result"]
        choice = body["choices"][0] if body["choices"] else {}
        return choice.get("delta", choice.get("message", {})).get("content") or ""


_LINES = "it reads lines, not events: a line that begins neither with `data: ` nor with `event: ` is an error"
_JSON_LINES = "it takes every data line for JSON of its own"
_BODY_END = "it takes the end of the body for the end of the answer, and looks for no end event"
_UNREAD = "it hands on the JSON unread; who reads it as documented falls over it"
_STATUSES = "it tries nothing again for an HTTP status, only for a code and for a lost connection"
_YOUNG = "it renews no token that is younger than an hour (QIANFAN_ACCESS_TOKEN_REFRESH_MIN_INTERVAL), and so fails"

_DEVIATIONS = {
    **dict.fromkeys(
        (
            *("comments/empty", "comments/first", "comments/inside-events", "comments/keep-alives"),
            *("comments/that-look-like-data", "stalls/comments", "fields/bom", "splits/inside-the-bom"),
            *("fields/ids", "fields/indented", "fields/no-colon", "fields/no-space", "fields/retry"),
            *("fields/retry-no-number", "fields/tab", "fields/unknown", "fields/upper-case"),
        ),
        _LINES,
    ),
    **dict.fromkeys(("fields/two-data-lines", "fields/many-data-lines", "comments/between-data-lines"), _JSON_LINES),
    **dict.fromkeys(("cuts/empty-body", "cuts/no-end-event"), _BODY_END),
    **dict.fromkeys(("answers/empty-object", "damage/no-text", "damage/text-is-a-number"), _UNREAD),
    **dict.fromkeys(
        ("answers/list", "answers/null", "damage/not-an-object"), "it counts on an object, and falls over anything else"
    ),
    "damage/bad-utf-8": "it decodes lines strictly, and lets the UnicodeDecodeError through",
    "answers/content-type-latin-1": "requests decodes the text by the charset of the head",
}


class TestOfficialV1(_Official):
    dialect = "v1"
    deviations: ClassVar = {
        **_DEVIATIONS,
        **dict.fromkeys(("errors/bad-gateway-once", "errors/unavailable-once"), _STATUSES),
        **dict.fromkeys(("tokens/expired", "tokens/expired-streamed", "tokens/revoked"), _YOUNG),
        "comments/behind-done": _LINES,
        "ends/open-connection": "it reads until the connection closes: is_end ends nothing for it",
        "errors/secret-free": "RequestError quotes the URL, and the access token with it",
    }
    cases = sample(deviations)


class TestOfficialV1Signed(_Official):
    dialect = "v1"
    signs = True
    keys = ("QIANFAN_ACCESS_KEY", "QIANFAN_SECRET_KEY")
    deviations: ClassVar = {
        **_DEVIATIONS,
        **dict.fromkeys(("errors/bad-gateway-once", "errors/unavailable-once"), _STATUSES),
        "comments/behind-done": _LINES,
        "ends/open-connection": "it reads until the connection closes: is_end ends nothing for it",
    }
    cases = sample(deviations, known_one_in=4)  # most are those of TestOfficialV1


class TestOfficialV2(_Official):
    dialect = "v2"
    keys = ("QIANFAN_BEARER_TOKEN",)
    options: ClassVar = {"version": "2"}
    retries = False
    note = "It tries nothing again in v2 but lost connections: codes are numbers to it, and those of v2 are texts."
    deviations: ClassVar = {
        **_DEVIATIONS,
        "content/unknown-members": "it takes `error: null` for an error, and falls over it",
        **dict.fromkeys(
            ("errors/secret-free", "errors/wrong-keys"),
            "RequestError quotes the headers of the request, and the API key with them",
        ),
    }
    cases = sample(deviations, known_one_in=4)  # most are those of TestOfficialV1


def _ask(prompt: str) -> dict[str, Any]:
    return {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": prompt}]}
