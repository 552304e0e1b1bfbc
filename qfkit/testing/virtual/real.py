"""The functions of `time` and their like as they are: kept here, where virtual time does not replace them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

#: In nanoseconds, which all times are counted in.
SECOND = 1_000_000_000

sleep = time.sleep
monotonic = time.monotonic
monotonic_ns = time.monotonic_ns
perf_counter = time.perf_counter
perf_counter_ns = time.perf_counter_ns
wall = time.time
wall_ns = time.time_ns
process_time_ns = time.process_time_ns
thread_time_ns = time.thread_time_ns
async_sleep = asyncio.sleep
#: None where the system does not have it.
clock_gettime_ns: Callable[[int], int] | None = getattr(time, "clock_gettime_ns", None)
