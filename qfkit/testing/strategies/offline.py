"""The mock without a socket: what it answers to one request."""

from __future__ import annotations

from collections.abc import Callable

from mock_server.core import handle
from mock_server.delivery import Reply
from mock_server.handle import AccountHandle
from mock_server.settings import Settings
from mock_server.state import State
from qfkit.protocol.dialects import TEXT_GENERATION_STREAM, V1_PREFIX
from qfkit.protocol.http import HttpRequest
from qfkit.testing.clock import ManualClock

_PATHS = {
    "text_generation": TEXT_GENERATION_STREAM,
    "v1": f"{V1_PREFIX}/chat/completions",
    "v2": "/v2/chat/completions",
}
_SETTINGS = Settings(auth="off", quota="none")


def answered(
    dialect: str, script: Callable[[AccountHandle], object], *, stream: bool = False, lines: bool = False
) -> Reply:
    """What a fresh account of a fresh mock answers to "0", once it is scripted.

    Args:
        dialect: what is spoken; text_generation streams.
        script: queues the step.
        stream: the answer is asked for as a stream.
        lines: as bare lines of JSON, where the dialect has them.
    """
    # Its time stands still: the same draws give the same bytes.
    state = State(_SETTINGS, ManualClock(1_714_550_400.0))
    script(AccountHandle(state.add_account(), state, "http://mock.invalid"))
    model = '"model":"ernie-3.5-8k",' if dialect == "v2" else ""
    body = f'{{{model}"messages":[{{"role":"user","content":"0"}}],"stream":{str(stream).lower()}}}'
    accept = "*/*" if lines else "text/event-stream"
    return handle(HttpRequest("POST", _PATHS[dialect], (("Accept", accept),), body.encode()), state)
