"""``locust -f loadtests/mixed.py --host URL``: calls of several kinds; keys from QIANFAN_* variables."""

import locust

from loadtests.users import MixedUser
from loadtests.wiring import register

__all__ = ["MixedUser"]

register(locust.events, MixedUser.scenario)
