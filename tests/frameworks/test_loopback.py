"""The guard that all of these tests stand under sees what the frameworks do."""

from __future__ import annotations

import pytest
from frameworks_helpers import needed

from qfkit.testing.guard import NetworkForbidden

needed("litellm", "langchain_openai")

FOREIGN = "http://192.0.2.7/v2"


def test_litellm_is_stopped(loopback):
    import litellm

    with pytest.raises(NetworkForbidden, match=r"tried to reach 192.0.2.7:80 \(connect\)"):
        litellm.completion("openai/m", [{"role": "user", "content": "?"}], api_base=FOREIGN, api_key="k")
    assert loopback.refused.pop().host == "192.0.2.7"


def test_langchain_is_stopped_in_a_loop_too(loopback, run):
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=FOREIGN, api_key="k", model="m", max_retries=0)
    with pytest.raises((NetworkForbidden, AttributeError)):  # LangChain 1 takes a group of errors for an answer
        run(model.ainvoke("?"))
    assert loopback.refused.pop().host == "192.0.2.7"
