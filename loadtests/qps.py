"""``locust -f loadtests/qps.py --host URL``: chat calls through the client; keys from QIANFAN_* variables."""

import locust

from loadtests.users import ChatUser
from loadtests.wiring import register

__all__ = ["ChatUser"]

register(locust.events, ChatUser.scenario)
