"""What is measured: one module a row of the table."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import Bench, Finding
from benchmarks.sections import client, growth, memory, paced, stages, start, throughput

SECTIONS: dict[str, Callable[[Bench], Finding]] = {
    "json": throughput.run_json,
    "sse": throughput.run_sse,
    "paced": paced.run,
    "memory": memory.run,
    "start": start.run,
    "client": client.run,
    "growth": growth.run,
    "stages": stages.run,
}
