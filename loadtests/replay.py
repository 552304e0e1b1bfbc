"""``locust -f loadtests/replay.py --host URL``: calls at the moments of --trace FILE; keys from QIANFAN_* variables."""

import locust

from loadtests.users import ReplayUser
from loadtests.wiring import register

__all__ = ["ReplayUser"]

register(locust.events, ReplayUser.scenario)
