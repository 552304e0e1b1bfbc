"""Sending a batch as fast as the server answers: by wrk where it is installed, else by our own client."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Cores, cpu_seconds
from benchmarks.sockets import Tally, closed_loop
from benchmarks.work import Batch

CONNECTIONS = 32

_LUA = """\
local parts = {@PARTS@}
local a, b, c, count, sent = {}, {}, {}, 0, 0

function init(args)
  if args[1] then
    for line in io.lines(args[1]) do
      count = count + 1
      a[count], b[count], c[count] = line:match("(%S+) (%S+) (%S+)")
    end
  end
end

function request()
  if count == 0 then return parts[1] end
  if sent < count then sent = sent + 1 end
  return parts[1] .. a[sent] .. parts[2] .. b[sent] .. parts[3] .. c[sent] .. parts[4]
end

function done(summary)
  local e = summary.errors
  io.write(string.format('\\nsummary {"answers": %d, "microseconds": %d, "errors": %d}\\n',
    summary.requests - e.status, summary.duration, e.connect + e.read + e.write + e.timeout + e.status))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one round of load showed.

    Attributes:
        rate: good answers a second.
        errors: everything else.
        server_microseconds: processor time of the server for one answer; None where it cannot be read.
        client_busy: share of its core that the load generator used. Near 1 it is the limit, and the rate says nothing.
    """

    rate: float
    errors: int
    server_microseconds: float | None
    client_busy: float


def tool() -> str:
    """What sends the load here."""
    return "wrk" if shutil.which("wrk") else "our own client (wrk is not installed)"


def run(batch: Batch, port: int, pid: int, *, cores: Cores, scratch: Path, seconds: int) -> Load:
    """Load one server for ``seconds``. A batch of rows must be long enough: a row sent twice counts as an error."""
    server, client, start = cpu_seconds(pid), _own_cpu(), time.perf_counter()
    with cores.on(cores.client):
        if shutil.which("wrk"):
            tally = _by_wrk(batch, port, scratch, seconds)
        else:
            tally = closed_loop(port, batch, connections=CONNECTIONS, seconds=seconds)
    elapsed = time.perf_counter() - start
    used = cpu_seconds(pid) - server
    return Load(
        rate=tally.answers / tally.seconds if tally.seconds else 0.0,
        errors=tally.errors,
        server_microseconds=used / tally.answers * 1e6 if tally.answers and used else None,
        client_busy=min(1.0, (_own_cpu() - client) / elapsed),
    )


def _own_cpu() -> float:
    """Processor time of this process and of the children that it has waited for."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, whose))


def _by_wrk(batch: Batch, port: int, scratch: Path, seconds: int) -> Tally:
    script = scratch / "load.lua"
    script.write_text(_LUA.replace("@PARTS@", ", ".join(map(_lua_string, batch.parts))), "utf-8")
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}/"]
    if batch.rows:
        rows = scratch / "rows.txt"
        rows.write_text("".join(f"{' '.join(row)}\n" for row in batch.rows), "ascii")
        command += ["--", str(rows)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    found = [line for line in process.stdout.splitlines() if line.startswith("summary ")]
    if not found:
        return Tally(errors=1, seconds=float(seconds))  # nobody listens any more
    summary = json.loads(found[-1].removeprefix("summary "))
    return Tally(summary["answers"], summary["errors"], summary["microseconds"] / 1e6)


def _lua_string(data: bytes) -> str:
    plain = set(range(32, 127)) - set(b'"\\')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03d}" for byte in data) + '"'
