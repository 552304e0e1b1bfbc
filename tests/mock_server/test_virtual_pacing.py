"""The mock on a virtual clock: streams, dates and quotas go by it, and what is about sockets stays in real time."""

from __future__ import annotations

import socket
import sys
import threading
from email.utils import parsedate_to_datetime

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server import AccountHandle, MockServer
from mock_server.quota import Limits
from mock_server.quota.meter import Quota
from mock_server.serving import front
from mock_server.serving.sender import Sender
from mock_server.settings import Settings
from mock_server.state import EXPLANATIONS, State
from qfkit import Client
from qfkit.testing.virtual import VirtualClock, real, virtual_time


@pytest.fixture(params=["uvloop", "asyncio"])
def loops(request, monkeypatch):
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    else:
        pytest.importorskip("uvloop")
    return request.param


def stream(server, account, **options):
    return requests.post(
        f"{server.url}/v2/chat/completions",
        json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}], "stream": True},
        headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
        **options,
    )


def test_a_stream_is_paced_by_the_clock_that_the_mock_was_given(loops):
    """Nothing of the process is patched: clock and client are handed over."""
    clock = VirtualClock()
    with MockServer(port=0, clock=clock) as server:
        account = server.account()
        account.stream(["你", "好"], ttft=30, interval=20)
        with Client(base_url=server.url, credentials=account.credentials, clock=clock) as client:
            seen = [(chunk.text, clock.elapsed) for chunk in client.stream("?") if chunk.text]
        [entry] = account.requests
    clock.close()
    assert seen == [("你", 30.0), ("好", 50.0)]
    assert entry.written == pytest.approx([0, 30, 50, 50, 50], abs=1e-6)


def test_a_stream_is_paced_by_virtual_time_on_either_loop(loops):
    with MockServer(port=0) as server, virtual_time() as clock:
        account = server.account()
        account.stream(["你", "好"], ttft=300, interval=200)
        assert "好" in stream(server, account, timeout=400).text
        assert clock.elapsed == pytest.approx(500)
        assert isinstance(server._front._loop, front.RealTimeLoop) is (loops == "asyncio")


def test_kept_connections_are_kept_in_real_time(loops):
    """An hour of virtual time is no idleness: whoever keeps a connection finds it."""
    with MockServer(port=0) as server, virtual_time() as clock, requests.Session() as session:
        ports = set()
        for _ in range(3):
            answer = session.get(f"{server.url}/__admin/health", stream=True)
            ports.add(answer.raw._connection.sock.getsockname())
            assert answer.ok
            assert answer.content
            clock.advance(3600)
        assert len(ports) == 1


def test_answers_are_dated_by_it(loops):
    with MockServer(port=0) as server, virtual_time() as clock:
        first, _, second = (stream(server, server.account()), clock.advance(7200), stream(server, server.account()))
        dates = [parsedate_to_datetime(answer.headers["Date"]).timestamp() for answer in (first, second)]
        assert dates[1] - dates[0] == 7200
        assert dates[1] == int(clock.time())


def test_a_stream_goes_on_in_real_time_when_virtual_time_ends(loops):
    with MockServer(port=0) as server:
        account = server.account()
        account.stream(["你", "好", "吗"], ttft=50, interval=0.02)
        with virtual_time() as clock:
            answer = stream(server, account, stream=True)
            body = answer.iter_content(None)
            assert "你" in next(body).decode()
            assert clock.elapsed == pytest.approx(50)
        assert "吗" in b"".join(body).decode()
        [entry] = account.requests
        assert entry.outcome == "complete"


def test_a_reset_comes_after_what_was_written_before_it_and_costs_no_virtual_time(loops):
    with MockServer(port=0) as server, virtual_time() as clock:
        account = server.account()
        account.stream(["你", "好"], ttft=30, interval=20, cut_after=1, cut="reset")
        answer = stream(server, account, stream=True, timeout=100)
        got = []
        with pytest.raises(requests.RequestException, match=r"reset|Connection broken"):
            got += answer.iter_content(None)
        assert "你" in b"".join(got).decode()
        assert clock.elapsed < 51
        assert account.requests[0].outcome == "reset"


def test_while_the_kernel_takes_what_was_written_virtual_time_waits(loops, monkeypatch):
    """Before a reset the mock waits, in real time, until its bytes have arrived: no timeout may overtake that."""
    looks = iter([True] * 5)
    monkeypatch.setattr(Sender, "_unsent", lambda _self: next(looks, False))
    with MockServer(port=0) as server, virtual_time() as clock:
        account = server.account()
        account.fault("reset")
        with pytest.raises(requests.ConnectionError, match="reset"):
            stream(server, account, timeout=0.001)
        assert clock.elapsed == 0.0
    assert next(looks, None) is None


def test_clients_that_leave_leave_no_timers(loops):
    with MockServer(port=0) as server, virtual_time() as clock:
        account = server.account()
        account.stream(["你", "好"], ttft=1, interval=3600)
        answer = stream(server, account, stream=True)
        next(answer.iter_content(None))
        answer.close()
        clock.advance(1)
        [entry] = account.requests
        assert entry.outcome == "hung up"
        assert "waiting" not in repr(clock)


def test_a_slow_answer_of_the_users_own_code_is_waited_for(loops):
    """It runs in a thread of the mock, and sleeps in virtual time."""
    import time

    with MockServer(port=0) as server, virtual_time() as clock:
        account = server.account()
        account.on().reply(lambda _question: (time.sleep(90), "好")[1])
        assert "好" in stream(server, account, timeout=100).text
        assert clock.elapsed == 90.0


def test_quotas_go_on_when_virtual_time_is_taken_away():
    """Else what was counted in virtual time would lie in the future, and count for as long."""
    with virtual_time() as clock:
        quota = Quota(Limits(rpm=1))
        clock.advance(3600)
        assert quota.admit(0).__class__.__name__ == "Granted"
    refused = quota.admit(0)
    assert 59 < refused.retry_after <= 60
    assert quota.used()["rpm"] == 1


def test_explanations_are_given_again_when_virtual_time_is_taken_away():
    with virtual_time() as clock:
        state = State(Settings())
        clock.advance(3600)
        assert [state.may_explain() for _ in range(EXPLANATIONS + 1)] == [True] * EXPLANATIONS + [False]
    assert state.may_explain()


def test_the_watchdog_of_slow_clients_is_real(loops):
    """A client that is in the middle of its request is slow in real time only."""
    with (
        MockServer(port=0) as server,
        virtual_time() as clock,
        socket.create_connection(("127.0.0.1", server.port)) as c,
    ):
        c.sendall(b"GET /__admin/health HTTP/1.1\r\n")
        clock.advance(3600)
        c.sendall(b"Host: x\r\nConnection: close\r\n\r\n")
        assert c.recv(100).startswith(b"HTTP/1.1 200")


def test_many_streams_keep_their_own_time(loops):
    with MockServer(port=0) as server, virtual_time() as clock:
        ends = {}

        def read(number):
            account = server.account()
            account.stream(["你", "好"], ttft=number, interval=2 * number)
            assert "好" in stream(server, account, timeout=100).text
            ends[number] = round(clock.elapsed, 6)

        began = real.monotonic()
        threads = [threading.Thread(target=read, args=(number,)) for number in range(1, 11)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ends == {number: 3.0 * number for number in range(1, 11)}
        assert real.monotonic() - began < 10


@settings(max_examples=15)
@given(
    ttft=st.integers(0, 3_000_000),
    interval=st.integers(0, 3_000_000),
    texts=st.lists(st.sampled_from(["你", "好", "吗"]), min_size=1, max_size=5),
)
def test_each_piece_leaves_at_its_time_whatever_the_plan(paced, ttft, interval, texts):
    """To the microsecond: the loop's own timers are late by a millisecond and more."""
    account = paced.account()
    account.stream(texts, ttft=ttft / 1000, interval=interval / 1000)
    with virtual_time() as clock:
        assert texts[-1] in stream(paced, account, timeout=7000).text
    [entry] = account.requests
    assert entry.written == pytest.approx(entry.scheduled, abs=1e-6)
    assert clock.elapsed == pytest.approx((ttft + interval * (len(texts) - 1)) / 1000, abs=1e-6)


@pytest.fixture(scope="module")
def paced():
    with MockServer(port=0) as server:
        yield server


def test_flask_paces_by_it_too():
    state = State(Settings())
    account = state.add_account()
    own = front.Front(state, flask=True)
    ready = threading.Event()
    thread = threading.Thread(target=own.run, args=(ready,))
    thread.start()
    ready.wait()
    try:
        with virtual_time() as clock:
            AccountHandle(account, state, own.url).stream(["你", "好"], ttft=60, interval=30)
            assert "好" in stream(own, AccountHandle(account, state, own.url), timeout=90).text
            assert clock.elapsed == pytest.approx(90)
    finally:
        own.stop()
        thread.join()
