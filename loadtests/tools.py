"""``locust -f loadtests/tools.py --host URL``: tool calls through the client; keys from QIANFAN_* variables."""

import locust

from loadtests.users import ToolsUser
from loadtests.wiring import register

__all__ = ["ToolsUser"]

register(locust.events, ToolsUser.scenario)
