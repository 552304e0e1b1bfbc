"""``locust -f loadtests/outage.py --host URL --client CLIENT``: see docs/load-testing.md; it makes keys of its own."""

import locust

from loadtests.clientusers import OutageUser
from loadtests.wiring import register

__all__ = ["OutageUser"]

register(locust.events, OutageUser.scenario)
