"""The mock as a Flask application: the reference door, which any WSGI server can serve."""

from __future__ import annotations

from flask import Flask

from mock_server.routes.admin import admin
from mock_server.routes.dashboard import dashboard
from mock_server.routes.own import own
from mock_server.routes.service import service
from mock_server.settings import Settings
from mock_server.state import State


def create_app(settings: Settings | None = None, state: State | None = None) -> Flask:
    """A Flask app over ``state`` (a new one with ``settings`` when not given).

    The state is ``app.extensions["qfkit"]``. Under a WSGI server a stream that is scripted to be cut ends when the
    server drops the connection; a TCP reset is the front door's alone and becomes such a cut.
    """
    app = Flask("mock_server", static_folder=None)
    app.extensions["qfkit"] = state or State(settings)
    app.register_blueprint(own)
    app.register_blueprint(dashboard)
    app.register_blueprint(admin)
    app.register_blueprint(service)
    return app
