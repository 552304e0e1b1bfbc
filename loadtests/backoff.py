"""``locust -f loadtests/backoff.py --host URL --client CLIENT``: see docs/load-testing.md; it makes keys of its own."""

import locust

from loadtests.clientusers import BackoffUser
from loadtests.wiring import register

__all__ = ["BackoffUser"]

register(locust.events, BackoffUser.scenario)
