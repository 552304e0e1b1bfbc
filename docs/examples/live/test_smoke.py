"""Runs against the mock as it is, and against the real service with --qianfan-live."""

import pytest


def test_it_answers(qianfan_client):
    assert qianfan_client.chat("你好").text


@pytest.mark.qianfan(dialect="v2")
def test_it_streams(qianfan_client):
    assert "".join(chunk.text for chunk in qianfan_client.stream("写一首诗"))


def test_it_retries(qianfan_mock, qianfan_client):  # nobody can tell the real service to fail: skipped there
    qianfan_mock.fail(18).then.reply("好")
    assert qianfan_client.chat("你好").text == "好"
