"""Virtual time by itself: who wakes when, what is covered, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import queue
import selectors
import socket
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from time import monotonic as by_name_monotonic
from time import sleep as by_name_sleep

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfkit.clock import SYSTEM_CLOCK, SystemClock
from qfkit.testing.virtual import TimeStandsStill, VirtualClock, real, stillness, virtual_time
from qfkit.testing.virtual.current import Current, is_real
from qfkit.testing.virtual.functions import STAND_INS
from qfkit.testing.virtual.stillness import Silence, ThreadStates

SECONDS = st.integers(1, 400_000).map(lambda thousandths: thousandths / 1000)


@pytest.fixture
def clock():
    with virtual_time() as clock:
        yield clock


def in_threads(*jobs):
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# Discrete events


@settings(max_examples=25)
@given(st.lists(st.lists(SECONDS, max_size=4), min_size=1, max_size=6))
def test_sleepers_wake_as_the_model_says(plans):
    """Each thread's wakes are the sums of its sleeps, all wakes come in order, and the longest thread is the whole."""
    clock, wakes = VirtualClock(), []

    def sleeper(plan):
        for seconds in plan:
            clock.sleep(seconds)
            wakes.append((clock.elapsed, threading.get_ident()))

    try:
        in_threads(*(lambda plan=plan: sleeper(plan) for plan in plans))
    finally:
        clock.close()
    thousandths = [[round(seconds * 1000) for seconds in plan] for plan in plans]
    model = sorted(sum(plan[: end + 1]) for plan in thousandths for end in range(len(plan)))
    assert [round(moment * 1000, 3) for moment, _ in wakes] == model
    assert len(clock.sleeps) == len(model)


@settings(max_examples=15)
@given(st.lists(SECONDS, min_size=1, max_size=8))
def test_tasks_of_a_loop_wake_as_the_model_says(waits):
    async def main():
        wakes = []

        async def sleeper(seconds):
            await asyncio.sleep(seconds)
            wakes.append(clock.elapsed)

        await asyncio.gather(*map(sleeper, waits))
        return wakes

    with virtual_time() as clock:
        wakes = asyncio.run(main())
    assert wakes == pytest.approx(sorted(waits), abs=1e-6)
    assert wakes == sorted(wakes)


def test_what_the_first_to_wake_does_comes_before_the_second(clock):
    """A wake may set another wait going, which ends before the second sleeper's: twenty clients, each by its own."""
    seen = []

    def client(number):
        for attempt in range(3):
            time.sleep((number + 1) * 2**attempt)
            seen.append((clock.elapsed, number, attempt))

    in_threads(*(lambda number=number: client(number) for number in range(20)))
    expected = [((n + 1) * (2 ** (a + 1) - 1), n, a) for n in range(20) for a in range(3)]
    assert sorted(seen) == sorted(expected)
    assert [moment for moment, _, _ in seen] == sorted(moment for moment, _, _ in seen)
    assert clock.elapsed == 140.0


def test_threads_and_loops_share_one_time(clock):
    order = []

    def thread():
        for _ in range(3):
            time.sleep(2)
            order.append(("thread", clock.elapsed))

    async def main():
        for _ in range(3):
            await asyncio.sleep(3)
            order.append(("task", clock.elapsed))

    in_threads(thread, lambda: asyncio.run(main()))
    assert order[:3] == [("thread", 2.0), ("task", 3.0), ("thread", 4.0)]
    assert sorted(order[3:5]) == [("task", 6.0), ("thread", 6.0)]
    assert order[5] == ("task", 9.0)


def test_time_stands_still_while_somebody_computes(clock):
    done = []

    def busy():
        until = real.monotonic() + 0.05
        while real.monotonic() < until:
            pass
        done.append(clock.elapsed)

    in_threads(busy, lambda: time.sleep(3600))
    assert done == [0.0]
    assert clock.elapsed == 3600.0


def test_advance_returns_when_what_is_due_has_happened(clock):
    seen = []

    def thread():
        for _ in range(3):
            time.sleep(10)
            seen.append(clock.elapsed)

    sleeper = threading.Thread(target=thread)
    sleeper.start()
    clock.advance(10)
    assert (seen, clock.elapsed) == ([10.0], 10.0)
    clock.advance(19.5)
    assert (seen, clock.elapsed) == ([10.0, 20.0], 29.5)
    clock.advance(0)
    assert clock.elapsed == 29.5
    sleeper.join()
    assert seen[-1] == 30.0
    assert [each.seconds for each in clock.sleeps] == [10, 10, 10]


def test_a_loop_that_only_looks_at_the_time_sees_it_pass(clock):
    """And those who sleep meanwhile are woken."""
    woken = []
    sleeper = threading.Thread(target=lambda: (time.sleep(0.01), woken.append(clock.elapsed)))
    sleeper.start()
    began, until = real.monotonic(), time.monotonic() + 0.05
    while time.monotonic() < until:
        pass
    assert real.monotonic() - began >= 0.05  # never faster than real time: nobody's timeout comes too soon
    sleeper.join()
    assert woken[0] >= 0.01


# What is covered


def test_every_clock_of_time_moves_alike(clock):
    names = ["time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"]
    before = {name: getattr(time, name)() for name in names}
    now, today = dt.datetime.now(dt.timezone.utc), time.gmtime()
    time.sleep(86_400)
    for name in names:
        scale = 1e9 if name.endswith("_ns") else 1
        assert (getattr(time, name)() - before[name]) / scale == pytest.approx(86_400, abs=1e-5)
    assert dt.datetime.now(dt.timezone.utc) - now == dt.timedelta(days=1)
    assert time.gmtime() != today
    assert dt.datetime.now(dt.timezone.utc).timestamp() == pytest.approx(time.time(), abs=1e-5)


def test_durations_of_nothing_are_not_nothing(clock):
    """The official SDK divides by them."""
    began = time.perf_counter()
    assert time.perf_counter() > began


def test_references_taken_by_name_are_found(clock):
    before = by_name_monotonic()
    by_name_sleep(60)
    assert by_name_monotonic() - before == pytest.approx(60)


def test_a_reference_taken_meanwhile_is_real_afterwards():
    module = types.ModuleType("late_comer")
    with virtual_time() as clock:
        exec("from time import sleep, monotonic", module.__dict__)
        module.sleep(60)
        assert clock.elapsed == 60.0
    began = time.monotonic()
    module.sleep(0.001)
    assert 0.001 <= module.monotonic() - began < 60


def test_waits_with_an_end_in_threading_and_queue(clock):
    assert not threading.Event().wait(30)
    assert clock.elapsed == 30.0
    with pytest.raises(queue.Empty):
        queue.Queue().get(timeout=10)
    assert clock.elapsed == 40.0
    semaphore = threading.Semaphore(0)
    assert not semaphore.acquire(timeout=5)
    assert clock.elapsed == 45.0
    condition = threading.Condition()
    with condition:
        assert not condition.wait_for(lambda: False, timeout=5)
    assert clock.elapsed == 50.0
    sleeper = threading.Thread(target=time.sleep, args=(100,))
    sleeper.start()
    sleeper.join(timeout=20)
    assert sleeper.is_alive()
    assert clock.elapsed == 70.0
    sleeper.join(timeout=1000)
    assert not sleeper.is_alive()
    assert clock.elapsed == 150.0
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(time.sleep, 60)
        with pytest.raises(FutureTimeoutError):
            future.result(timeout=59)
        assert clock.elapsed == 209.0
        future.result(timeout=59)
    assert clock.elapsed == 210.0
    rang = []
    timer = threading.Timer(90, lambda: rang.append(clock.elapsed))
    timer.start()
    timer.join()
    assert rang == [300.0]


def test_a_notification_ends_a_wait_before_its_time(clock):
    event, items = threading.Event(), queue.Queue()

    def other():
        time.sleep(7)
        event.set()
        time.sleep(7)
        items.put("thing")

    thread = threading.Thread(target=other)
    thread.start()
    assert event.wait(3600)
    assert clock.elapsed == 7.0
    assert items.get(timeout=3600) == "thing"
    assert clock.elapsed == 14.0
    thread.join()


def test_notifications_reach_as_many_as_they_are_for(clock):
    condition, woken = threading.Condition(), []

    def waiter(number):
        with condition:
            woken.append((number, condition.wait(100)))

    threads = [threading.Thread(target=waiter, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    clock.advance(1)
    with condition:
        condition.notify(2)
    clock.advance(1)
    assert [got for _, got in woken] == [True, True]
    for thread in threads:
        thread.join()
    assert sorted(got for _, got in woken) == [False, False, False, True, True]
    assert clock.elapsed == 100.0
    with pytest.raises(RuntimeError, match="cannot wait on un-acquired lock"):
        condition.wait(1)


def test_a_socket_reads_until_its_timeout_and_no_longer(clock):
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(30)
        with pytest.raises(TimeoutError, match="timed out"):
            near.recv(10)
        assert clock.elapsed == 30.0
        sender = threading.Thread(target=lambda: (time.sleep(29), far.sendall(b"here")))
        sender.start()
        assert near.recv(10) == b"here"
        assert clock.elapsed == 59.0
        sender.join()
        with pytest.raises(TimeoutError):
            near.recv_into(bytearray(10))
        assert clock.elapsed == 89.0


def test_timeouts_of_asyncio(clock):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 45)
        loop = asyncio.get_running_loop()
        future, began = loop.create_future(), loop.time()
        loop.call_later(15, future.set_result, None)
        await future
        assert loop.time() - began == pytest.approx(15)
        await loop.run_in_executor(None, time.sleep, 30)

    asyncio.run(main())
    assert clock.elapsed == pytest.approx(90, abs=1e-6)


@pytest.mark.parametrize("selector", [selectors.SelectSelector, selectors.PollSelector, selectors.DefaultSelector])
def test_loops_on_any_selector(clock, selector):
    loop = asyncio.SelectorEventLoop(selector())
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        sender = threading.Thread(target=lambda: (time.sleep(30), far.sendall(b"here")))
        sender.start()
        assert loop.run_until_complete(asyncio.wait_for(loop.sock_recv(near, 10), 45)) == b"here"
        assert clock.elapsed == 30.0
        loop.run_until_complete(asyncio.sleep(30))
        assert clock.elapsed == pytest.approx(60, abs=1e-6)
        sender.join()
    loop.close()


def test_timers_of_those_who_run_the_tests_are_real(clock):
    """Else a timeout of the test run would be over at once."""
    rang = []
    ours, theirs = (lambda: rang.append("ours")), (lambda: rang.append("theirs"))
    theirs.__module__ = "pytest_timeout"
    timers = [threading.Timer(100, ours), threading.Timer(100, theirs)]
    for timer in timers:
        timer.start()
    timers[0].join()
    assert (rang, clock.elapsed) == (["ours"], 100.0)
    time.sleep(1000)
    timers[1].cancel()
    timers[1].join()
    assert rang == ["ours"]


def test_timeouts_far_away_leave_nothing_behind(clock):
    """A client with a timeout of ten minutes sets one for every read, and takes it back."""
    sleeper = threading.Thread(target=time.sleep, args=(60,))
    sleeper.start()
    for _ in range(10_000):
        clock.cancel(clock.alarm(600 * 10**9, pytest.fail))
    assert len(clock._alarms) < 3000
    sleeper.join()
    assert clock.elapsed == 60.0


def test_sleeps_are_written_down_with_who_and_where(clock):
    asyncio.run(asyncio.sleep(2))
    time.sleep(1.5)
    time.sleep(0)
    in_thread = threading.Thread(target=lambda: time.sleep(3), name="worker")
    in_thread.start()
    in_thread.join()
    assert [(each.seconds, round(each.at, 6)) for each in clock.sleeps] == [(2, 0.0), (1.5, 2.0), (3, 3.5)]
    assert [each.who for each in clock.sleeps][1:] == [threading.current_thread().name, "worker"]
    assert clock.sleeps[1].where.startswith("testing/test_virtual_clock.py:")
    assert repr(clock) == "<virtual clock: 6.5 s passed, slept 2, 1.5, 3 s>"


def test_what_comes_from_outside_takes_no_virtual_time(clock):
    """A child process answers over a socket, while somebody sleeps for an hour of virtual time."""
    listener = socket.create_server(("127.0.0.1", 0))
    program = (
        "import socket, sys, time\n"
        "sock = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "time.sleep(0.1); sock.sendall(b'x'); sock.recv(1)"
    )
    with listener, subprocess.Popen([sys.executable, "-c", program, str(listener.getsockname()[1])]):
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(20)
            sleeper = threading.Thread(target=time.sleep, args=(3600,))
            sleeper.start()
            assert accepted.recv(1) == b"x"
            assert clock.elapsed == 0.0
    sleeper.join()
    assert clock.elapsed == 3600.0


def test_child_processes_and_their_waits_are_in_real_time(clock):
    done = subprocess.run(
        [sys.executable, "-c", "import time; time.sleep(0.05); print(time.time())"],
        timeout=30,
        capture_output=True,
        check=True,
    )
    assert clock.elapsed == 0.0
    time.sleep(10_000)
    assert float(done.stdout) < time.time() - 9_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on_in_real_time(clock):
    time.sleep(1000)
    child = os.fork()
    if child == 0:
        began = time.monotonic(), time.time(), dt.datetime.now(dt.timezone.utc).timestamp()
        time.sleep(0.01)
        ended = time.monotonic(), time.time(), dt.datetime.now(dt.timezone.utc).timestamp()
        os._exit(0 if all(0.005 < end - begin < 10 for begin, end in zip(began, ended, strict=True)) else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("module", "stays"),
    [
        ("_pytest.timing", True),
        ("subprocess", True),
        ("multiprocessing.pool", True),
        ("concurrent.futures.process", True),
        ("mock_server.serving.door", True),
        ("concurrent.futures.thread", False),
        ("mock_server.core", False),
        ("openai._base_client", False),
    ],
)
def test_who_stays_in_real_time(module, stays):
    assert is_real(module) is stays


# Nothing stays


def test_everything_is_put_back():
    owners = (threading.Condition, threading.Thread, socket.socket, socket.SocketIO, time, asyncio, asyncio.tasks)
    before = [dict(vars(owner)) for owner in (*owners, queue, sys.modules[__name__])]
    began = time.time(), time.monotonic()
    with virtual_time() as clock:
        assert time.sleep is not real.sleep
        assert queue.time is not real.monotonic
        time.sleep(10_000)
    assert [dict(vars(owner)) for owner in (*owners, queue, sys.modules[__name__])] == before
    assert Current.clock is None
    assert SystemClock.stand_in is None
    assert SYSTEM_CLOCK.monotonic() - began[1] < 1000
    assert time.time() - began[0] < 1000
    assert not any(thread.name == "qfkit-virtual-time" for thread in threading.enumerate())
    assert repr(clock) == "<virtual clock: 10000 s passed, slept 10000 s, removed>"


def test_it_is_put_back_after_an_error_too():
    with pytest.raises(ZeroDivisionError), virtual_time():
        raise ZeroDivisionError
    assert time.sleep is real.sleep
    assert all(getattr(time, stand_in.__name__, function) is function for function, stand_in in STAND_INS[:-1])


def test_whoever_still_waits_is_woken_at_the_end():
    woken = threading.Event()
    with virtual_time() as clock:
        holder = clock.hold(60)  # as if somebody were at work
        sleeper = threading.Thread(target=lambda: (time.sleep(1_000_000), woken.set()))
        sleeper.start()
        while not clock.sleeps:
            real.sleep(0.0005)
    sleeper.join()
    assert woken.is_set()
    assert clock.elapsed == 0.0
    clock.let_go(holder)
    before = clock.monotonic()
    clock.sleep(1_000_000)  # a clock that was removed lets nobody wait
    assert 0 <= clock.monotonic() - before < 1000


# Mistakes


def test_twice_is_refused(clock):
    with pytest.raises(RuntimeError, match=r"virtual time is on already.*ask for qianfan_clock once"), virtual_time():
        pass
    time.sleep(1)  # the first goes on
    assert clock.elapsed == 1.0


def test_time_does_not_run_backwards(clock):
    with pytest.raises(ValueError, match=r"time does not run backwards: advance\(seconds\) takes 0 or more, got -1"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="sleep length must be non-negative"):
        time.sleep(-1)
    with pytest.raises(TypeError, match="'str' object cannot be interpreted as an integer"):
        time.sleep("1")
    assert clock.elapsed == 0.0
    assert clock.sleeps == ()


def test_who_keeps_time_from_moving_is_named():
    stop = threading.Event()

    def spin_for_ever():
        while not stop.is_set():
            pass

    with virtual_time(patience=0.1):
        spinner = threading.Thread(target=spin_for_ever, name="spinner")
        spinner.start()
        try:
            with pytest.raises(TimeStandsStill, match=r"for 0\.1 real seconds thread 'spinner' was at .*spin_for_ever"):
                time.sleep(60)
        finally:
            stop.set()
        spinner.join()
    with pytest.raises(ValueError, match="patience is in real seconds, more than 0; got 0"), virtual_time(patience=0):
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_clock_that_breaks_down_lets_nobody_wait_for_ever():
    class Broken:
        def moving(self):
            raise LookupError("no such thread")

        def close(self):
            pass

    clock = VirtualClock(look=Broken())
    for _ in range(2):
        with pytest.raises(TimeStandsStill, match=r"a bug in qfkit.*LookupError\('no such thread'\)"):
            clock.sleep(60)
    clock.close()


def test_uvloop_in_a_test_is_refused_loudly(clock):
    uvloop = pytest.importorskip("uvloop")
    loop = uvloop.new_event_loop()
    with pytest.raises(RuntimeError, match="uvloop keeps its own time, which virtual time cannot reach"):
        loop.run_until_complete(asyncio.sleep(60))

    async def in_time():
        async with httpx.AsyncClient() as http:  # has timeouts, so it sets timers
            await http.get("http://127.0.0.1:1/")

    with pytest.raises(RuntimeError, match="uvloop"):
        loop.run_until_complete(in_time())
    assert loop.run_until_complete(loop.run_in_executor(None, time.monotonic)) > 0  # what sets no timer may run
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def test_without_time_machine_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "time_machine", None)
    with pytest.raises(ImportError, match=r"time-machine, for datetime: pip install 'qfkit\[test\]'"), virtual_time():
        pass
    assert Current.clock is None


def test_windows_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(RuntimeError, match="not there for Windows"), virtual_time():
        pass


def test_gevent_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "gevent.monkey", types.SimpleNamespace(is_module_patched=lambda _name: True))
    with pytest.raises(RuntimeError, match="gevent has patched time"), virtual_time():
        pass


# Knowing that all are still


@pytest.mark.parametrize("look", [ThreadStates, Silence])
def test_whoever_works_is_seen(look):
    if look is ThreadStates and not sys.platform.startswith("linux"):
        pytest.skip("asks Linux")
    looks, go, stop = look(), threading.Event(), threading.Event()

    def work():
        go.wait()
        while not stop.is_set():
            pass

    def soon(moving):
        """Whatever other threads of this process have to do ends, and a thread that may run gets a CPU."""
        return any(bool(looks.moving()) is moving for _ in range(1000))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert soon(False)
        go.set()
        assert soon(True)
    finally:
        go.set()
        stop.set()
        worker.join()
        looks.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
@pytest.mark.parametrize("left_out", ["states", "cpu times"])
def test_either_half_of_the_look_sees_a_thread_at_work(left_out, monkeypatch):
    """States alone miss one that waits for the interpreter's lock; CPU times alone, one that got no CPU yet."""
    if left_out == "states":
        monkeypatch.setattr(ThreadStates, "_state", lambda _self, _tid: b"S")
    else:
        monkeypatch.setattr(stillness, "_cpu_time", lambda _tid: 0)
    looks, stop = ThreadStates(), threading.Event()

    def work():
        while not stop.is_set():
            hashlib.sha256(b"x" * 100_000)  # outside the interpreter's lock, so that both halves have something to see

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert any(worker.native_id in looks.moving() for _ in range(1000))
    finally:
        stop.set()
        worker.join()
        looks.close()


def test_where_the_system_tells_less_it_is_slower_and_the_same():
    clock, woken = VirtualClock(look=Silence()), []

    def sleeper():
        for seconds in (3, 1, 2):
            clock.sleep(seconds)
            woken.append(clock.elapsed)

    in_threads(sleeper)
    clock.close()
    assert woken == [3.0, 4.0, 6.0]
