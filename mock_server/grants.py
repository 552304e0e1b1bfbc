"""What a proven identity is given: access tokens, bearer tokens, the list of services (wire reference 1.3, 2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from urllib.parse import parse_qs

from mock_server.delivery import Reply
from mock_server.replies import reply_json
from mock_server.state import ACCESS_TOKEN_LIFE, Account, State
from qfkit.protocol.dialects import BASE_URLS, V1_PREFIX
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.models import MODELS

#: ``expireInSeconds`` when it is not given, and the most that is granted: 30 days (2.3).
_BEARER_LIFE, _BEARER_MOST = 86_400, 2_592_000

#: Kinds of the model table -> ``apiType`` of the service list (1.3).
_API_TYPES = {
    "chat": "chat",
    "completions": "completions",
    "embeddings": "embeddings",
    "text2image": "text2image",
    "image2text": "image2text",
    "reranker": "reranker",
}


def _access_token(_request: HttpRequest, state: State, account: Account) -> Reply:
    token = state.issue_access_token(account)
    application = token.value.rpartition(".")[2]
    ten_years = 315_360_000
    data = {
        "refresh_token": f"25.{state.hex(32)}.{ten_years}.{int(token.issued) + ten_years}.{application}",
        "expires_in": ACCESS_TOKEN_LIFE,
        "session_key": state.hex(40),
        "access_token": token.value,
        "scope": "public brain_all_scope ai_custom_yiyan_com_eb_instant ai_custom_yiyan_com",
        "session_secret": state.hex(32),
    }
    reply = reply_json(data, [])
    reply.headers[0] = ("Content-Type", "application/json")
    return reply


def _bearer_token(request: HttpRequest, state: State, account: Account) -> Reply:
    asked = parse_qs(request.query).get("expireInSeconds", [""])[0]
    life = int(asked[:10]) if asked.isascii() and asked.isdigit() else _BEARER_LIFE
    token = state.issue_bearer_token(account, min(max(life, 1), _BEARER_MOST))
    data = {
        "userId": state.hex(32),
        "token": token.value,
        "status": "enable",
        "createTime": _moment(token.issued),
        "expireTime": _moment(token.expires),
    }
    return reply_json(data, [])


def _moment(when: float) -> str:
    """``YYYY-MM-DDThh:mm:ss.mmmZ``."""
    moment = datetime.fromtimestamp(when, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _service_list(_request: HttpRequest, state: State, _account: Account) -> Reply:
    base = f"{BASE_URLS['v1']}{V1_PREFIX}"
    common = [
        {
            "name": model.aliases[0] if model.aliases else model.name,
            "url": f"{base}{model.endpoint}",
            "apiType": _API_TYPES[model.kind],
            "chargeStatus": "OPENED",
            "versionList": [{"trainType": model.name, "serviceStatus": "Done"}],
        }
        for model in MODELS
        if model.endpoint and model.kind in _API_TYPES
    ]
    return reply_json({"log_id": state.hex(10), "result": {"common": common, "custom": []}}, [])


#: Dialect of the route -> what it hands out.
GRANTS: dict[str, Callable[[HttpRequest, State, Account], Reply]] = {
    "oauth": _access_token,
    "iam": _bearer_token,
    "console": _service_list,
}
