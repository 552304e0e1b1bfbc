"""Requests and questions as the core makes them, for tests of rules."""

from __future__ import annotations

import json
from typing import Any

from mock_server.asking import read
from mock_server.matching import Question
from qfkit.protocol.dialects import TEXT_GENERATION_CHAT, TEXT_GENERATION_STREAM, V1_PREFIX, route
from qfkit.protocol.http import HttpRequest

V1 = f"{V1_PREFIX}/chat/completions_pro"
V2 = "/v2/chat/completions"
PATHS = {"v1": V1, "v2": V2, "text_generation": TEXT_GENERATION_CHAT}


def ask(text: str = "你好", *, path: str = V2, headers: dict[str, str] | None = None, **members: Any) -> HttpRequest:
    """A valid chat request; ``members`` go into its body, over those that are made up."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if path == V2:
        body["model"] = "ernie-3.5-8k"
    return HttpRequest("POST", path, tuple((headers or {}).items()), json.dumps(body | members).encode())


def question(request: HttpRequest | None = None, **values: Any) -> Question:
    """The question of a request, which has to be valid."""
    request = request or ask()
    found = route(request.path)
    assert found is not None
    asked = read(found, request.body, any_model=True)
    assert asked.problem is None, asked.problem
    return Question(request, found, asked, "account-1", **values)


__all__ = ["PATHS", "TEXT_GENERATION_STREAM", "V1", "V2", "ask", "question"]
