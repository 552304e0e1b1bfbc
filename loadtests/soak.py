"""``locust -f loadtests/soak.py --host URL``: memory and drift, for hours; keys from QIANFAN_* variables."""

import locust

from loadtests.users import SoakUser
from loadtests.wiring import register

__all__ = ["SoakUser"]

register(locust.events, SoakUser.scenario)
