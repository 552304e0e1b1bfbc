"""Servers as processes: started on their core, asked until they answer, ended by the process group that we made."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import Cores, cpu_seconds, resident_bytes
from benchmarks.sockets import ProtocolFailure, Response, ask

#: The folder that holds the package ``benchmarks``: our own servers are started with it as their home.
ROOT = Path(__file__).parent.parent
_START_SECONDS = 30.0
_STOP_SECONDS = 8.0


class NotStarted(RuntimeError):
    """A server did not come up; the text is its last word."""


@dataclass(slots=True)
class Server:
    """A server that answers.

    Attributes:
        name: in the tables.
        port: on 127.0.0.1.
        process: the one that we started; it may have children.
        seconds_to_first: from the start of the process to the first 200.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes]
    seconds_to_first: float = 0.0

    @property
    def pid(self) -> int:
        """Of the process that we started."""
        return self.process.pid

    def memory(self) -> int:
        """Resident bytes, children included."""
        return resident_bytes(self.pid)

    def cpu(self) -> float:
        """Processor seconds used so far, children included."""
        return cpu_seconds(self.pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a server is started and known to work.

    Attributes:
        name: in the tables.
        command: port -> the command line.
        probe: port -> a request that it answers 200 when it is up.
        environment: further variables, from the port.
        prepare: port -> requests that set it up before the probe.
        expect: bytes that the probe's answer holds.
    """

    name: str
    command: Callable[[int], list[str]]
    probe: Callable[[int], bytes]
    environment: Callable[[int], dict[str, str]] = field(default=lambda _port: {})
    prepare: Callable[[int], bytes] | None = None
    expect: bytes = b""


def without_paths(text: str) -> str:
    """A message without this machine's folders: it may land in a report."""
    return re.sub(r"(?:/[^\s/:'\"]+)+/(?=[^\s/:'\"])", "", text)


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _environment() -> dict[str, str]:
    """Of what is measured: our code, compiled once as an installed package is, whatever the shell says."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def running(launch: Launch, cores: Cores) -> Iterator[Server]:
    """A server for the length of a ``with`` block.

    Raises:
        NotStarted: it ended, or did not answer rightly in time.
    """
    port = free_port()
    environment = {**_environment(), **launch.environment(port)}
    with tempfile.TemporaryFile() as said:
        with cores.on(cores.server):
            start = time.perf_counter()
            # A session of its own: Ctrl-C reaches only us, and the whole group is ours to end.
            process = subprocess.Popen(
                launch.command(port),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=environment,
                cwd=tempfile.gettempdir(),
                start_new_session=True,
            )
        server = Server(launch.name, port, process)
        try:
            try:
                _await_answer(server, launch, start)
            except NotStarted as error:
                said.seek(0)
                last = said.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
                raise NotStarted(without_paths(f"{error}{': ' + last[-1] if last else ''}")) from error
            yield server
        finally:
            stop(process)


def _await_answer(server: Server, launch: Launch, start: float) -> None:
    prepare = launch.prepare
    problem = "it did not answer"
    while time.perf_counter() < start + _START_SECONDS:
        if server.process.poll() is not None:
            raise NotStarted(f"it ended at once with exit code {server.process.returncode}")
        try:
            if prepare is not None:
                ask(server.port, prepare(server.port))
                prepare = None
            response = ask(server.port, launch.probe(server.port))
        except (OSError, ProtocolFailure) as error:
            problem = f"it did not answer: {error}"
            time.sleep(0.001)
            continue
        if (wrong := _wrong(response, launch.expect)) is None:
            server.seconds_to_first = time.perf_counter() - start
            return
        problem = wrong
        if 400 <= response.status < 500:
            break
        time.sleep(0.01)
    raise NotStarted(problem)


def _wrong(response: Response, expected: bytes) -> str | None:
    if response.status != 200:
        return f"it answered {response.status}: {response.body[:200]!r}"
    if expected not in response.body:
        return f"its answer lacks {expected!r}: {response.body[:200]!r}"
    return None


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started."""
    for number, patience in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children that outlived it


def own_module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package."""
    return [sys.executable, "-m", f"benchmarks.{name}", *arguments]


def qfkit_command(*arguments: str) -> list[str]:
    """The ``qfkit`` command of this environment."""
    script = Path(sys.executable).with_name("qfkit")
    start = [str(script)] if script.exists() else [sys.executable, "-c", "from qfkit.cli import main; main()"]
    return [*start, *arguments]


def output_of(command: Sequence[str], cores: Cores, timeout: float) -> str:
    """What a helper process prints; it runs on the client's core.

    Raises:
        RuntimeError: it failed; the text is its last word.
    """
    with cores.on(cores.client):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=_environment(),
        )
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(without_paths(words[-1]) if words else f"exit code {done.returncode}")
    return done.stdout
