"""The network guard: a guarded test stays on its machine, and one that tries to leave is told where it tried.

Addresses are of TEST-NET (RFC 5737) and names end in .invalid (RFC 2606): nothing answers even if the guard lets go.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mock_server import MockServer
from qfkit.testing.guard import Guard, NetworkForbidden, guard
from qfkit.testing.network import NETWORK

FOREIGN = "192.0.2.7"

# Promises, as a downstream project meets them


def test_the_mock_can_be_reached_in_a_guarded_test(pytester: pytest.Pytester):
    pytester.makepyfile("""
        def test_it(qianfan_guard, qianfan_client, qianfan_intercept):
            import requests

            assert qianfan_client.chat("?").text
            assert requests.get("https://aip.baidubce.com/nothing", timeout=5).status_code == 404
            assert qianfan_guard.refused == []

        def test_the_other_way_round(qianfan_intercept, qianfan_guard):
            import requests

            assert requests.get("https://aip.baidubce.com/nothing", timeout=5).status_code == 404
    """)
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


def test_a_way_out_fails_with_host_and_line(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import requests

        def test_it(qianfan_guard):
            requests.get("https://aip.baidubce.com/", timeout=5)
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*NetworkForbidden: a guarded test *, and this one tried to reach aip.baidubce.com:443 (getaddrinfo)",
            '*asked at: *test_a_way_out_fails_with_host_and_line.py:4 in test_it: requests.get("https://aip*',
            "*How to fix: *qianfan_env, or qianfan_intercept*",
            '*@pytest.mark.qianfan(allow=[[]"aip.baidubce.com"])',
        ]
    )


def test_code_that_swallows_the_failure_fails_the_test_all_the_same(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import socket

        def test_it(qianfan_guard):
            try:
                socket.create_connection(("192.0.2.7", 80), timeout=1)
            except BaseException:
                pass
    """)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*tried to reach 192.0.2.7:80 (connect)*"])


def test_the_marker_lets_through(pytester: pytest.Pytester):
    pytester.makepyfile("""
        import socket
        import pytest

        @pytest.mark.qianfan(allow=["*.invalid"])
        def test_it(qianfan_guard):
            with pytest.raises(socket.gaierror):
                socket.getaddrinfo("qfkit.invalid", 443)
    """)
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


WANDERER = """
    import socket

    def wander():
        socket.create_connection(("192.0.2.7", 80), timeout=0.001)

    def test_with(qianfan_mock):
        wander()

    def test_without():
        try:
            wander()
        except OSError:
            pass
"""


@pytest.mark.parametrize("how", ["option", "ini"])
def test_the_option_guards_whoever_uses_a_fixture(pytester: pytest.Pytester, how):
    pytester.makepyfile(WANDERER)
    if how == "ini":
        pytester.makeini("[pytest]\nqianfan_guard = true\n")
    result = pytester.runpytest_inprocess(*(["--qianfan-guard"] if how == "option" else []))
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*NetworkForbidden: *192.0.2.7:80*", "FAILED *::test_with*"])


def test_a_second_guard_is_refused():
    with guard(), pytest.raises(RuntimeError, match="the network is guarded already"), guard():
        pass
    assert NETWORK.watch is None


# What is stopped


@pytest.mark.parametrize(
    ("way", "how"),
    [
        (lambda: socket.create_connection((FOREIGN, 80), timeout=1), "connect"),
        (lambda: socket.getaddrinfo("qfkit.invalid", 80), "getaddrinfo"),
        (lambda: socket.getaddrinfo(b"qfkit.invalid", 80), "getaddrinfo"),
        (lambda: socket.gethostbyname("qfkit.invalid"), "gethostbyname"),
        (lambda: socket.gethostbyname_ex("qfkit.invalid"), "gethostbyname_ex"),
        (lambda: socket.gethostbyaddr(FOREIGN), "gethostbyaddr"),
        (lambda: socket.getfqdn("qfkit.invalid"), "gethostbyaddr"),
        (lambda: socket.getnameinfo((FOREIGN, 80), 0), "getnameinfo"),
        (lambda: asyncio.run(asyncio.wait_for(asyncio.open_connection(FOREIGN, 80), 1)), "connect"),
        (lambda: asyncio.run(asyncio.wait_for(asyncio.open_connection("qfkit.invalid", 80), 1)), "getaddrinfo"),
    ],
)
def test_ways_out(way, how):
    with guard(path=__file__) as watch, pytest.raises(NetworkForbidden) as caught:
        way()
    assert f"({how})" in str(caught.value)
    assert f"{__file__}:" in caught.value.asked_at
    assert watch.refused == [caught.value]


def test_the_line_is_found_while_the_test_runs_on():
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(50))

    def ask() -> str:
        with guard() as watch, pytest.raises(NetworkForbidden):
            asyncio.run(asyncio.wait_for(asyncio.open_connection("qfkit.invalid", 80), 1))
        return watch.refused[0].asked_at

    interval = sys.getswitchinterval()
    threads = [threading.Thread(target=spin) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        sys.setswitchinterval(5e-5)  # whoever walks a running stack is interrupted in the middle of it
        lines = [ask() for _ in range(60)]
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for thread in threads:
            thread.join()
    assert [line for line in lines if __file__ not in line] == []


@pytest.mark.parametrize("method", ["connect", "connect_ex"])
@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, (FOREIGN, 80)), (socket.AF_INET6, ("2001:db8::7", 80))]
)
def test_sockets(method, family, address):
    with guard(), socket.socket(family) as sock, pytest.raises(NetworkForbidden) as caught:
        getattr(sock, method)(address)
    assert (caught.value.host, caught.value.port) == address


@pytest.mark.parametrize("flags", [(), (0,)])
def test_datagrams(flags):
    with guard(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(NetworkForbidden):
        sock.sendto(b"?", *flags, (FOREIGN, 53))


@pytest.mark.skipif(not hasattr(socket.socket, "sendmsg"), reason="no sendmsg here")
def test_messages():
    with guard(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(NetworkForbidden) as caught:
        sock.sendmsg([b"?"], [], 0, (FOREIGN, 53))
    assert "192.0.2.7:53 (sendmsg)" in str(caught.value)


@pytest.mark.skipif(not hasattr(socket.socket, "sendmsg"), reason="no sendmsg here")
def test_what_stays_on_the_machine_is_not_asked_about():
    with guard() as watch:
        assert socket.gethostbyname_ex("localhost")[2]
        assert socket.getnameinfo((FOREIGN, 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV) == (FOREIGN, "80")
        assert socket.getfqdn("127.0.0.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here, socket.socket(here.family, here.type) as sock:
            here.bind(("127.0.0.1", 0))
            sock.sendmsg([b"to", b"gether"], [], 0, here.getsockname())
            sock.connect(here.getsockname())
            sock.sendmsg([b"connected"])
            assert [here.recv(20), here.recv(20)] == [b"together", b"connected"]
    assert watch.refused == []


@pytest.mark.parametrize("host", [FOREIGN, "qfkit.invalid"])
def test_uvloop(host):
    uvloop = pytest.importorskip("uvloop")

    loop = uvloop.new_event_loop()
    with guard(), pytest.raises(NetworkForbidden):
        loop.run_until_complete(asyncio.wait_for(loop.create_connection(asyncio.Protocol, host, 80), 1))
    loop.close()


def test_a_thread_without_a_line_of_the_test_is_told_with_the_line_where_the_test_waits():
    with guard(path=__file__), ThreadPoolExecutor(1) as pool, pytest.raises(NetworkForbidden) as caught:
        pool.submit(socket.getaddrinfo, "qfkit.invalid", 80).result()
    assert caught.value.asked_at.startswith("a library, in thread 'ThreadPoolExecutor")
    assert f", while the test was at {__file__}:" in caught.value.asked_at


# What is free


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.9.9.9"])
def test_loopback(host):
    with MockServer() as server, guard() as watch:
        try:
            socket.create_connection((host, server.port), timeout=5).close()
        except ConnectionRefusedError:  # nobody listens on that address of this machine
            assert host == "127.9.9.9"
    assert watch.refused == []


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_unix_sockets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with guard(), socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as sock:
        listening.bind("s")
        listening.listen()
        sock.connect("s")


@pytest.mark.parametrize(
    ("allow", "host", "port", "free"),
    [
        ([FOREIGN], FOREIGN, 80, True),
        (["192.0.2.0/24"], FOREIGN, 80, True),
        (["192.0.2.0/24"], "192.0.3.7", 80, False),
        ([f"{FOREIGN}:80"], FOREIGN, 80, True),
        ([f"{FOREIGN}:80"], FOREIGN, 81, False),
        (["[2001:db8::7]:80"], "2001:db8::7", 80, True),
        (["[2001:db8::7]:80"], "2001:db8::7", 81, False),
        (["2001:db8::7"], "2001:db8::7", 81, True),
        (["*"], FOREIGN, 1, True),
        ([], "::ffff:127.0.0.1", 80, True),
        ([], "::ffff:192.0.2.7", 80, False),
        ([], "0.0.0.0", 80, True),
    ],
)
def test_allow(allow, host, port, free):
    watch = Guard(allow)
    if free:
        watch.connect(host, port, "connect")
    else:
        with pytest.raises(NetworkForbidden):
            watch.connect(host, port, "connect")


def test_the_addresses_of_an_allowed_name_are_allowed_on_its_port():
    watch = Guard(["api.example.com:443"])
    watch.lookup("api.example.com", 443, "getaddrinfo")
    watch.resolved("api.example.com", [FOREIGN])
    watch.connect(FOREIGN, 443, "connect")
    with pytest.raises(NetworkForbidden):
        watch.connect(FOREIGN, 80, "connect")


def test_a_text_for_allow_is_told():
    with pytest.raises(TypeError, match=r"allow is a list of hosts, such as \['example.com'\]"):
        Guard("example.com")
