"""Nothing is sent before it is clear what, where to, and that it may be."""

from __future__ import annotations

import pytest

from loadtests.plan import DEFAULT_PROMPTS, PlanError, Traffic, hostname_of, is_loopback, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("90", 90), ("1m30s", 90), ("2h", 7200), ("1h1m1s", 3661), ("1.5s", 1.5), (" 5m ", 300)],
)
def test_time_spans(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "ten", "10 s", "1s1m", "0", "0m", "1e3"])
def test_no_time_spans(text):
    with pytest.raises(PlanError, match=r"1s or more|1m30s"):
        seconds_of(text)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8866", "http://localhost", "http://LOCALHOST:1", "http://[::1]:8866", "http://127.9.9.9"]
)
def test_this_machine_may_be_loaded(url):
    Traffic(host=url).check()


@pytest.mark.parametrize(
    "url",
    [
        "https://aip.baidubce.com",
        "http://10.0.0.1",
        "http://mock:8866",
        "http://localhost.example.com",
        "http://0.0.0.0",
    ],
)
def test_any_other_demands_live_and_a_budget(url):
    with pytest.raises(PlanError, match=r"is not this machine.*qfkit mock.*--live --max-requests"):
        Traffic(host=url).check()
    with pytest.raises(PlanError, match="--max-requests N"):
        Traffic(host=url, live=True).check()
    Traffic(host=url, live=True, max_requests=10).check()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8866", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999", "http://[::1"]
)
def test_what_is_no_base_url(url):
    with pytest.raises(PlanError, match="--host"):
        hostname_of(url)


def test_loopback_is_a_matter_of_addresses_not_of_spelling():
    assert is_loopback("127.0.0.1")
    assert not is_loopback("127.0.0.1.example.com")


def test_prompts_come_from_the_text_the_file_or_the_house(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeff你好\r\n\r\n  Hello  \n".encode())
    assert Traffic(host="").texts() == DEFAULT_PROMPTS
    assert Traffic(host="", prompt="一").texts() == ("一",)
    assert Traffic(host="", prompts=str(file)).texts() == ("你好", "Hello")


def test_prompts_that_cannot_be_had_say_why(tmp_path):
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "gbk").write_bytes("你好".encode("gbk"))
    for name, words in [("missing", "cannot be read"), ("empty", "one a line"), ("gbk", "not UTF-8"), (".", "read")]:
        with pytest.raises(PlanError, match=words):
            Traffic(host="", prompts=str(tmp_path / name)).texts()
    with pytest.raises(PlanError, match="--prompt is empty"):
        Traffic(host="", prompt=" ").texts()
