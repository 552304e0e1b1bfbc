"""pytest-httpserver outside of pytest: the same JSON or the same 20 chunks from one handler.

    python httpserver.py PORT [threaded]

``threaded`` is the package's own option; without it one request is served at a time, which is its default.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator

from pytest_httpserver import HTTPServer  # type: ignore[import-not-found]
from werkzeug import Request, Response

PIECES = tuple(f"token{number:02d} " for number in range(20))
PATH = "/v1/chat/completions"
BASE = {"id": "as-benchmark0", "created": int(time.time()), "model": "gpt-4o"}
USAGE = {"prompt_tokens": 14, "completion_tokens": 20, "total_tokens": 34}
MESSAGE = {"role": "assistant", "content": "".join(PIECES), "refusal": None}
WHOLE = BASE | {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": MESSAGE, "logprobs": None, "finish_reason": "stop"}],
    "usage": USAGE,
}


def chat(request: Request) -> Response:
    if request.get_json().get("stream"):
        return Response(stream(), mimetype="text/event-stream")
    return Response(json.dumps(WHOLE), mimetype="application/json")


def stream() -> Iterator[str]:
    for piece in PIECES:
        chunk = BASE | {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": piece}}]}
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def main() -> None:
    server = HTTPServer("127.0.0.1", int(sys.argv[1]), threaded="threaded" in sys.argv[2:])
    server.expect_request(PATH).respond_with_handler(chat)
    server.start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
