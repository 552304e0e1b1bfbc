"""Pictures that an answer points to: ours, since the service has nothing at their address."""

from __future__ import annotations

from flask import Blueprint, Response, abort

from mock_server.generate import png, seeded

own = Blueprint("own", __name__)


@own.get("/__qfkit/images/<int:width>x<int:height>-<name>.png")
def image(width: int, height: int, name: str) -> Response:
    """The picture that an image answer of v2 points to: the same name gives the same picture."""
    if not (1 <= width <= 4096 and 1 <= height <= 4096):
        abort(404)
    return Response(png(width, height, seeded(0, name)), mimetype="image/png")
