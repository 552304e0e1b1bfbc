"""``locust -f loadtests/ceiling.py --host URL``: one step of the search; keys from QIANFAN_* variables."""

import locust

from loadtests.users import CeilingUser
from loadtests.wiring import register

__all__ = ["CeilingUser"]

register(locust.events, CeilingUser.scenario)
