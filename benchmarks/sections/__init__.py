"""What is measured: one module a row of the table."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from benchmarks.bench import Bench, Finding

#: Section -> its module and function, in the order they run. Loaded when they do: one that needs the inside of the mock
#: must not keep the others from measuring it from outside.
SECTIONS = {
    "json": "throughput.run_json",
    "sse": "throughput.run_sse",
    "paced": "paced.run",
    "memory": "memory.run",
    "start": "start.run",
    "client": "client.run",
    "loadtool": "loadtool.run",
    "growth": "growth.run",
    "stages": "stages.run",
}


def run(name: str, bench: Bench) -> Finding:
    """One section."""
    module, _, function = SECTIONS[name].partition(".")
    return cast("Finding", getattr(import_module(f"benchmarks.sections.{module}"), function)(bench))
