"""``locust -f loadtests/embed.py --host URL``: embeddings through the client; keys from QIANFAN_* variables."""

import locust

from loadtests.users import EmbedUser
from loadtests.wiring import register

__all__ = ["EmbedUser"]

register(locust.events, EmbedUser.scenario)
