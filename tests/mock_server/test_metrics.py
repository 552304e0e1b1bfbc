"""What /metrics counts, read with Prometheus' own parser."""

from __future__ import annotations

import json
import sys
import threading
from array import array
from types import SimpleNamespace

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from mock_server import MockServer, Settings, State, create_app
from mock_server.core import handle
from mock_server.delivery import Reply, Timing
from mock_server.metrics import BUCKETS, Tally, exposition
from qfkit.protocol.http import HttpRequest

V2_CHAT = "/v2/chat/completions"


def ask(state, account, *, token=None, end="complete", **body):
    headers = (("Authorization", f"Bearer {token or account.credentials.bearer_token}"),)
    content = json.dumps({"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}], **body}).encode()
    reply = handle(HttpRequest("POST", V2_CHAT, headers, content, "http"), state)
    if end:
        reply.on_end(end)
    return reply


def entry_of(answered_by="default", rule=None):
    return SimpleNamespace(
        dialect="v2",
        operation="chat",
        status=200,
        error_code=None,
        answered_by=answered_by,
        rule=rule,
        scheme=None,
        signature=None,
    )


def samples(state):
    text, _ = exposition(state)
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(state, name, **labels):
    return samples(state).get((name, tuple(sorted(labels.items()))))


def test_requests_are_counted_by_what_became_of_them():
    state = State(Settings(quota="none"))
    account = state.add_account()
    create_app(state=state).test_client().put(
        f"/__admin/accounts/{account.name}/scenario",
        json={"script": [{"fail": 336501}], "rules": [{"on": {"contains": "nobody says this"}}]},
    )
    for _ in range(3):
        ask(state, account)
    ask(state, account, token="bce-v3/ALTAK-nobody/0000")
    chat = {"dialect": "v2", "operation": "chat"}
    found = {labels: count for (name, labels), count in samples(state).items() if name == "qfkit_requests_total"}
    counted = [{**dict(labels), "n": count} for labels, count in found.items()]
    assert sum(each["n"] for each in counted) == 4
    by = {each["answered_by"]: each for each in counted}
    assert (by["default"]["n"], by["default"]["status"], by["default"]["code"]) == (2, "200", "")
    assert (by["script"]["n"], by["script"]["status"], by["script"]["dialect"]) == (1, "429", chat["dialect"])
    assert by["script"]["code"] == "rpm_rate_limit_exceeded"
    assert (by["authentication"]["n"], by["authentication"]["status"]) == (1, "401")
    assert value(state, "qfkit_deliveries_total", outcome="complete") == 4
    assert value(state, "qfkit_journal_entries") == 4
    assert value(state, "qfkit_accounts") == 1


def test_a_stream_is_open_until_its_end():
    state = State()
    account = state.add_account()
    replies = [ask(state, account, stream=True, end=None) for _ in range(3)]
    assert value(state, "qfkit_streams_open") == 3
    replies[0].on_end("complete")
    replies[0].on_end("hung up")  # only the first word counts
    replies[1].on_end("hung up")
    assert value(state, "qfkit_streams_open") == 1
    assert value(state, "qfkit_deliveries_total", outcome="complete") == 1
    assert value(state, "qfkit_deliveries_total", outcome="hung up") == 1


def test_verdicts_on_signatures():
    state = State()
    account = state.add_account()
    headers = (
        ("X-Bce-AccessKey", account.credentials.access_key),
        ("X-Bce-Timestamp", str(int(state.clock.time()))),
        ("X-Bce-Nonce", "1"),
        ("X-Bce-Signature", "bm8="),
    )
    path = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
    handle(HttpRequest("POST", path, headers, b"{}", "http"), state).on_end("complete")
    assert value(state, "qfkit_signatures_total", scheme="hmac", verdict="mismatch") == 1


def test_lateness_is_that_of_the_latest_write():
    tally = Tally()
    for late in (0.0, BUCKETS[0], 0.3, 99.0):
        timing = Timing(array("d", [0.0, 0.1, 0.2]), array("d", [0.0, 0.1 + late]))
        tally.ended(entry_of(), Reply(200, timing=timing), "complete")
    tally.ended(entry_of(), Reply(200), "complete")  # of one write: nobody planned a time for it
    buckets, total = tally.lateness()
    counts = dict(buckets)
    assert counts[str(BUCKETS[0])] in (1, 2)  # 0.1 + 0.0005 is a little more, or not
    assert (counts["0.25"], counts["0.5"], counts["2.5"], counts["+Inf"]) == (2, 3, 3, 4)
    assert total == pytest.approx(99.3 + BUCKETS[0])


def test_counts_are_exact_with_many_threads():
    tally = Tally()
    entry, reply = entry_of(), Reply(200, streamed=True)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work():
        for _ in range(500):
            tally.opened()
            tally.ended(entry, reply, "complete")

    threads = [threading.Thread(target=work) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert list(tally.answers().values()) == [4000]
    assert tally.streams_open == 0


@pytest.mark.parametrize(
    ("answered_by", "rule", "kind"),
    [
        ("rule 1 on(stream=True): reply 'x'", "rule 1", "rule"),
        ("chaos: fail 18", None, "chaos"),
        ("reply 'x' (1 of 2)", None, "script"),
        ("quota", None, "quota"),
    ],
)
def test_who_answered_is_one_of_few(answered_by, rule, kind):
    tally = Tally()
    tally.ended(entry_of(answered_by=answered_by, rule=rule), Reply(200), "complete")
    assert [each.answered_by for each in tally.answers()] == [kind]


def test_metrics_are_at_their_usual_address():
    with MockServer() as server:
        account = server.account()
        requests.get(
            f"{server.url}/v2/models",
            headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
            timeout=10,
        ).raise_for_status()
        plain = requests.get(f"{server.url}/metrics", timeout=10)
        assert plain.headers["Content-Type"].startswith("text/plain; version=")
        assert 'qfkit_requests_total{answered_by="default",code="",dialect="v2"' in plain.text
        asked = requests.get(
            f"{server.url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}, timeout=10
        )
        assert asked.headers["Content-Type"].startswith("application/openmetrics-text")
        assert {family.name for family in openmetrics(asked.text)} >= {"qfkit_requests", "qfkit_lateness_seconds"}
        assert requests.get(f"{server.url}/metrics/x", timeout=10).status_code == 404
        assert len(server.requests) == 2  # /metrics is ours: no request of the service


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    missing = create_app().test_client().get("/metrics")
    assert missing.status_code == 501
    assert "pip install 'qfkit[server]'" in missing.get_json()["error"]["message"]
