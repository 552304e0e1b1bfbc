"""``locust -f loadtests/stream.py --host URL``: streams through the client; keys from QIANFAN_* variables."""

import locust

from loadtests.users import StreamUser
from loadtests.wiring import register

__all__ = ["StreamUser"]

register(locust.events, StreamUser.scenario)
