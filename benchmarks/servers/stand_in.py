"""A stand-in for the test mock in the official SDK's repository, which is in no package.

Flask's development server, as that mock uses it, with one route that returns the same JSON (or the same 20 chunks).
It checks no key and keeps no journal, and so does less than the mock that it stands for.

    python stand_in.py PORT
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request

PIECES = tuple(f"token{number:02d} " for number in range(20))

app = Flask(__name__)


@app.post("/v1/chat/completions")
def chat() -> Response:
    asked = request.get_json()
    base = {"id": "as-benchmark0", "created": int(time.time()), "need_clear_history": False, "is_truncated": False}
    if asked.get("stream"):
        return Response(_stream(base), mimetype="text/event-stream")
    usage = {"prompt_tokens": 14, "completion_tokens": 20, "total_tokens": 34}
    return jsonify(
        base | {"object": "chat.completion", "result": "".join(PIECES), "finish_reason": "stop", "usage": usage}
    )


def _stream(base: dict[str, object]) -> Iterator[str]:
    for number, piece in enumerate(PIECES):
        chunk = base | {"object": "chat.completion.chunk", "sentence_id": number, "result": piece}
        yield f"data: {json.dumps(chunk)}\n\n"
    yield f"data: {json.dumps(base | {'is_end': True, 'result': ''})}\n\n"


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]))
