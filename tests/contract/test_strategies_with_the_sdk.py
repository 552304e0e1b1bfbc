"""What the strategies call valid, the official Python SDK sends, with its own checks, and the mock takes."""

from __future__ import annotations

from typing import Any

import pytest
import qianfan
from contract_helpers import NO_LIMITER, QUIET, inference
from hypothesis import HealthCheck, given, settings

from qfkit.testing.strategies import conversations, options

pytestmark = QUIET
# The fixtures stand for all examples: every one asks the same account.
steady = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@steady
@given(conversations("v1"), options("v1"))
def test_v1(sdk_v1: Any, account: Any, messages: Any, chosen: Any) -> None:
    reply = sdk_v1.do(messages=messages, model="ERNIE-3.5-8K", retry_count=1, **NO_LIMITER, **chosen)
    assert reply.code == 200
    assert inference(account)[-1].json["messages"] == messages


@steady
@given(conversations("v2"), options("v2"))
def test_v2(sdk_v2: Any, account: Any, messages: Any, chosen: Any) -> None:
    reply = sdk_v2.do(messages=messages, model="ernie-3.5-8k", retry_count=1, **NO_LIMITER, **chosen)
    assert reply.code == 200
    assert inference(account)[-1].json["messages"] == messages


@pytest.fixture
def sdk_v1(sdk: Any) -> Any:
    sdk("AK", "SK")
    return qianfan.ChatCompletion()


@pytest.fixture
def sdk_v2(sdk: Any) -> Any:
    sdk("BEARER_TOKEN")
    return qianfan.ChatCompletion(version="2")
