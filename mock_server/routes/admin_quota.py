"""What accounts may ask, and what they have used of it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from mock_server.routes.operation import Call, Operation
from mock_server.settings import LimitsConfig


class OfModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose quota."""

    model: Annotated[
        str | None, msgspec.Meta(description="this model alone; left out, every model, each counted by itself")
    ] = None


class ModelQuota(msgspec.Struct, kw_only=True):
    """The limits of one model, and what is counted against each now."""

    limits: LimitsConfig
    used: dict[str, int]


class QuotaState(msgspec.Struct, kw_only=True):
    """The limits of an account; ``default`` counts for each model by itself."""

    default: LimitsConfig | None
    models: dict[str, ModelQuota]


def get_quota(call: Call) -> QuotaState:
    """Show an account's limits, and what is used of them."""
    return msgspec.convert(call.owner.quotas.to_dict(), QuotaState)


def set_quota(call: Call) -> QuotaState:
    """Limit what an account may ask. Replaces the limits that were set before, and counts anew."""
    limits: LimitsConfig = call.body
    call.account.quota(**msgspec.structs.asdict(limits), model=call.query.model)
    return get_quota(call)


def lift_quota(call: Call) -> QuotaState:
    """Lift the limits of an account, or of one of its models."""
    call.account.quota(model=call.query.model)
    return get_quota(call)


def reset_quota(call: Call) -> QuotaState:
    """Count anew; the limits stay."""
    call.owner.quotas.reset()
    return get_quota(call)


_TAG = "quota"
_PATH = "/accounts/{name}/quota"

OPERATIONS = (
    Operation(method="GET", path=_PATH, view=get_quota, tag=_TAG, answer=QuotaState, python="Quotas.to_dict"),
    Operation(
        method="PUT",
        path=_PATH,
        view=set_quota,
        tag=_TAG,
        query=OfModel,
        body=LimitsConfig,
        answer=QuotaState,
        python="AccountHandle.quota",
    ),
    Operation(
        method="DELETE",
        path=_PATH,
        view=lift_quota,
        tag=_TAG,
        query=OfModel,
        answer=QuotaState,
        python="AccountHandle.quota",
    ),
    Operation(
        method="POST", path=f"{_PATH}/reset", view=reset_quota, tag=_TAG, answer=QuotaState, python="Quotas.reset"
    ),
)
