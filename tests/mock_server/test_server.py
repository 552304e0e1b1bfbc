"""The mock in a test's process: its life, its accounts, and the Flask app behind another server."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from mock_server import MockServer, Settings, State, create_app
from mock_server.settings import ConfigError
from mock_server.state import DuplicateCredentials

V2_CHAT = "/v2/chat/completions"


def ask(account, **body):
    headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
    data = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]} | body
    return requests.post(account.url + V2_CHAT, json=data, headers=headers, timeout=10)


@pytest.fixture(scope="module")
def server():
    with MockServer() as running:
        yield running


def test_two_accounts_on_one_server_do_not_see_each_other(server):
    one, other = server.account(), server.account()
    one.reply("one")
    other.reply("other")
    assert ask(one).json()["choices"][0]["message"]["content"] == "one"
    assert ask(other).json()["choices"][0]["message"]["content"] == "other"
    assert [len(one.requests), len(other.requests)] == [1, 1]


def test_an_account_keeps_the_keys_it_is_given_and_makes_up_the_rest(server):
    account = server.account(access_key="AK-given", secret_key="SK-given")
    assert (account.credentials.access_key, account.credentials.secret_key) == ("AK-given", "SK-given")
    assert account.credentials.bearer_token
    with pytest.raises(DuplicateCredentials, match="access_key: this server knows it already"):
        server.account(access_key="AK-given")


def test_the_same_seed_gives_the_same_answers_and_another_seed_others():
    def answer(seed: int) -> str:
        with MockServer(seed=seed) as server:
            return ask(server.account()).json()["choices"][0]["message"]["content"]

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_many_servers_run_side_by_side_and_stop_in_any_order():
    servers = [MockServer().start() for _ in range(5)]
    assert len({server.url for server in servers}) == 5
    for server in reversed(servers):
        assert ask(server.account()).status_code == 200
        server.stop()
        server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = servers[0].url


def test_it_stops_with_a_stream_open_and_leaves_no_thread():
    before = threading.active_count()
    server = MockServer().start()
    account = server.account()
    account.stream(["a", "b"], interval=60)
    with requests.post(
        server.url + V2_CHAT,
        json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}], "stream": True},
        headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
        stream=True,
        timeout=10,
    ) as response:
        assert next(response.iter_lines()).startswith(b"data: ")
        started = time.perf_counter()
        server.stop()
        assert time.perf_counter() - started < 2
    assert threading.active_count() == before
    assert account.requests[-1].outcome == "hung up"


def test_starting_twice_is_refused():
    with MockServer() as server, pytest.raises(RuntimeError, match="runs already"):
        server.start()


def test_a_wrong_setting_is_refused_before_anything_runs():
    with pytest.raises(ConfigError, match="did you mean 'auth'"):
        MockServer(atuh="off")


def test_exactly_k_of_n_concurrent_requests_fail(server):
    account = server.account()
    account.fail(503, times=20)
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: ask(account).status_code, range(60)))
    assert sorted(statuses) == [200] * 40 + [503] * 20
    assert account.waiting == []


def test_warn_lets_in_and_says_what_strict_would_have_done():
    with MockServer(auth="warn") as server:
        answer = requests.post(
            server.url + V2_CHAT,
            json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]},
            timeout=10,
        )
        assert answer.status_code == 200
        assert "strict auth would answer invalid_iam_token" in answer.headers["X-Qfkit-Diagnosis"]


def test_off_asks_nobody():
    with MockServer(auth="off") as server:
        body = {"messages": [{"role": "user", "content": "?"}]}
        path = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions"
        assert "result" in requests.post(server.url + path, json=body, timeout=10).json()


def test_pictures_of_v2_can_be_fetched(server):
    account = server.account()
    made = requests.post(
        server.url + "/v2/images/generations",
        json={"model": "irag-1.0", "prompt": "cat", "size": "512x768", "n": 2},
        headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
        timeout=10,
    ).json()
    pictures = [requests.get(item["url"], timeout=10) for item in made["data"]]
    assert [picture.headers["Content-Type"] for picture in pictures] == ["image/png"] * 2
    assert pictures[0].content[16:24] == (512).to_bytes(4, "big") + (768).to_bytes(4, "big")


def test_it_is_alive(server):
    assert requests.get(server.url + "/__admin/health", timeout=10).json() == {"status": "ok"}


def test_the_flask_app_gives_the_same_answer_behind_another_server():
    state = State(Settings(seed=1))
    client = create_app(state=state).test_client()
    account = state.add_account()
    headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
    body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]}
    with MockServer(seed=1) as server:
        wanted = ask(server.account()).json()["choices"]
    assert client.post(V2_CHAT, json=body, headers=headers).get_json()["choices"] == wanted
    streamed = client.post(V2_CHAT, json=body | {"stream": True}, headers=headers)
    assert streamed.data.endswith(b"data: [DONE]\n\n")
    assert client.get("/__admin/health").get_json() == {"status": "ok"}
    assert client.get("/nowhere").status_code == 404
    assert [entry.outcome for entry in account.journal.entries()] == ["complete", "complete"]


def test_it_listens_on_ipv6():
    try:
        server = MockServer(host="::1").start()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with server:
        assert server.url.startswith("http://[::1]:")
        assert ask(server.account()).status_code == 200


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self._path)


def test_it_listens_on_a_unix_socket_that_only_its_owner_may_use(tmp_path):
    path = tmp_path / "mock.sock"
    with MockServer(uds=path) as server:
        assert server.url.startswith("http+unix://%2F")
        assert path.stat().st_mode & 0o777 == 0o600
        connection = UnixConnection(str(path))
        connection.request("GET", "/v2/models", headers={"Authorization": f"Bearer {token_of(server)}"})
        assert connection.getresponse().status == 200
        connection.close()
    assert not path.exists()


def token_of(server: MockServer) -> str:
    return str(server.account().credentials.bearer_token)


FORK = """
import multiprocessing, warnings
from mock_server import MockServer
warnings.simplefilter("ignore")  # newer Pythons warn of any fork beside threads: that is what is tested

def child(server, pipe):
    with MockServer() as own:
        pipe.send(own.url != server.url)
    server.stop()

with MockServer() as server:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(server, theirs))
    process.start()
    process.join(20)
    import urllib.request
    alive = urllib.request.urlopen(server.url + "/__admin/health", timeout=10).status
    print(ours.recv(), process.exitcode, alive)
"""


def test_a_forked_child_may_have_mocks_of_its_own_and_leaves_the_parents_alone():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["True", "0", "200"], done.stderr


class SameSecond:
    """Real time on the wire, for time stamps must pass; but by the clock of durations it is always the same second."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds <= 0


def test_a_flood_of_wrong_signatures_is_refused_without_explaining_each():
    path = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
    with MockServer(clock=SameSecond()) as server, requests.Session() as session:
        account = server.account()
        headers = {"X-Bce-AccessKey": str(account.credentials.access_key), "X-Bce-Signature": "bm90IGl0"}
        for nonce in range(60):
            moment = {"X-Bce-Timestamp": str(int(time.time())), "X-Bce-Nonce": str(nonce)}
            assert session.post(server.url + path, headers=headers | moment, data=b"{}", timeout=10).status_code == 401
    causes = [entry.signature.cause for entry in account.requests]
    assert None not in causes[:20]
    assert causes[20:] == [None] * 40


def test_the_journal_says_when_each_write_was_to_leave_and_when_it_did(server):
    account = server.account()
    account.stream(["a", "b", "c"], ttft=0.02, interval=0.01)
    assert ask(account, stream=True).text.count("data: ") == 5
    timing = account.requests[-1].timing
    assert max(timing.scheduled) == pytest.approx(0.04)
    assert len(timing.real) == len(timing.scheduled)
    assert all(0 <= late < 2 for late in timing.errors())


def test_the_journal_says_where_a_client_hung_up(server):
    account = server.account()
    account.stream(["a", "b"], interval=60)
    body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}], "stream": True}
    headers = {"Authorization": f"Bearer {account.credentials.bearer_token}"}
    with requests.post(server.url + V2_CHAT, json=body, headers=headers, stream=True, timeout=10) as response:
        next(response.iter_lines())
    entry = account.requests[-1]
    deadline = time.monotonic() + 10
    while entry.outcome == "pending":
        assert time.monotonic() < deadline
    assert entry.outcome == "hung up"
    assert 0 < len(entry.timing.real) < len(entry.timing.scheduled)


def test_pieces_leave_in_time_while_the_test_computes(server):
    account = server.account()
    account.stream([str(n) for n in range(20)], interval=0.02)
    done = threading.Event()

    def read() -> None:
        ask(account, stream=True)
        done.set()

    reader = threading.Thread(target=read)
    reader.start()
    while not done.is_set():
        sum(n * n for n in range(2000))  # pure Python, which holds the interpreter for as long as it may
    reader.join()
    late = sorted(account.requests[-1].timing.errors())
    assert late[len(late) // 2] < 0.02  # a busy machine may hold up a few, but not half of them


def test_the_switch_interval_is_put_back_when_the_last_mock_stops():
    script = (
        "import sys; from mock_server import MockServer; before = sys.getswitchinterval();"
        "one, other = MockServer().start(), MockServer().start(); during = sys.getswitchinterval();"
        "one.stop(); still = sys.getswitchinterval(); other.stop();"
        "print(before, during, still, sys.getswitchinterval())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    before, during, still, after = map(float, done.stdout.split())
    assert during == still < before == after
