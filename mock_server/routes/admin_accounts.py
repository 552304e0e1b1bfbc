"""Accounts, their keys and their tokens."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec

from mock_server.handle import client_environment
from mock_server.routes.operation import Call, Operation
from mock_server.settings import Keys
from mock_server.state import Account
from qfkit.protocol.credentials import Credentials, mask

#: A name that can stand in a path.
Name: TypeAlias = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^/?#%\\\s.][^/?#%\\\s]{0,99}$",
        description="up to 100 characters, without spaces and / ? # % \\, and not beginning with a full stop",
    ),
]


class NewAccount(Keys, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """An account to be made; keys that are left out are generated, and so is the name."""

    name: Name | None = None


class NewKeys(Keys, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Keys that take the place of others; those that are left out are generated."""

    keep_old: Annotated[
        bool | Annotated[float, msgspec.Meta(ge=0)],
        msgspec.Meta(
            description="how long the keys before them are accepted: true for ever, false no longer, or seconds"
        ),
    ] = True


class ShownKeys(msgspec.Struct, kw_only=True):
    """Keys of an account; all but the access key masked."""

    access_key: str | None
    secret_key: str | None
    ak: str | None
    sk: str | None
    bearer_token: str | None


class AccountInfo(msgspec.Struct, kw_only=True):
    """An account as it may be shown."""

    name: str
    credentials: ShownKeys
    old_keys: Annotated[int, msgspec.Meta(description="sets of keys from before a rotation that are still accepted")]
    tokens: Annotated[int, msgspec.Meta(description="issued tokens that are still accepted")]
    requests: Annotated[int, msgspec.Meta(description="requests counted for it since the start")]
    waiting: Annotated[list[str], msgspec.Meta(description="steps that no request has met yet")]


class AccountList(msgspec.Struct, kw_only=True):
    """All accounts, the default one first."""

    accounts: list[AccountInfo]


class IssuedKeys(msgspec.Struct, kw_only=True):
    """Keys in full: they are shown this once."""

    name: str
    credentials: ShownKeys
    env: Annotated[
        dict[str, str], msgspec.Meta(description="variables that send the official SDK, openai and qfkit here")
    ]


class TokenCount(msgspec.Struct, kw_only=True):
    """How many tokens were accepted until now."""

    tokens: int


def list_accounts(call: Call) -> AccountList:
    """List the accounts."""
    return AccountList(accounts=[_info(call, account) for account in call.state.accounts()])


def create_account(call: Call) -> IssuedKeys:
    """Make an account. The answer holds its keys in full, once."""
    new: NewAccount = call.body
    account = call.state.add_account(new.credentials(), new.name)
    return _issued(call, account.name, account.credentials)


def get_account(call: Call) -> AccountInfo:
    """Show one account, its secrets masked."""
    return _info(call, call.owner)


def delete_account(call: Call) -> None:
    """Forget an account, its keys and its tokens. Requests on their way are still answered."""
    call.state.remove_account(call.names["name"])


def rotate_keys(call: Call) -> IssuedKeys:
    """Give an account new keys, and let the old ones be good for a while. The answer holds them in full, once."""
    new: NewKeys = call.body
    account = call.owner
    return _issued(call, account.name, call.state.rotate(account, new.credentials(), new.keep_old))


def expire_tokens(call: Call) -> TokenCount:
    """End the life of every token of an account: v1 answers 111, v2 invalid_iam_token."""
    return TokenCount(tokens=call.account.expire_tokens())


def revoke_tokens(call: Call) -> TokenCount:
    """Take every token of an account back, as if it had never been issued."""
    return TokenCount(tokens=call.state.revoke_tokens(call.owner))


def reset_account(call: Call) -> None:
    """Forget an account's scenario, its journal and what its quotas have counted; keys, tokens and limits stay."""
    call.account.reset()


def _info(call: Call, account: Account) -> AccountInfo:
    now = call.state.clock.time()
    return AccountInfo(
        name=account.name,
        credentials=ShownKeys(**_keys(account.credentials, masked=True)),
        old_keys=sum(keys.until > now for keys in account.old_keys),
        tokens=sum(token.lives(now) for token in tuple(account.tokens.values())),
        requests=account.journal.count,
        waiting=call.handle_of(account).waiting,
    )


def _issued(call: Call, name: str, keys: Credentials) -> IssuedKeys:
    return IssuedKeys(
        name=name, credentials=ShownKeys(**_keys(keys, masked=False)), env=client_environment(call.url, keys)
    )


def _keys(keys: Credentials, *, masked: bool) -> dict[str, Any]:
    """The keys by name. An access key is public: it stands in every signed request."""
    found = {name: getattr(keys, name) for name in ShownKeys.__struct_fields__}
    return {name: mask(key) if masked and key and name != "access_key" else key for name, key in found.items()}


_TAG = "accounts"
_ONE = "/accounts/{name}"

OPERATIONS = (
    Operation(
        method="GET", path="/accounts", view=list_accounts, tag=_TAG, answer=AccountList, python="State.accounts"
    ),
    Operation(
        method="POST",
        path="/accounts",
        view=create_account,
        tag=_TAG,
        body=NewAccount,
        answer=IssuedKeys,
        status=201,
        errors=(409,),
        python="MockServer.account",
    ),
    Operation(method="GET", path=_ONE, view=get_account, tag=_TAG, answer=AccountInfo, python="State.account"),
    Operation(method="DELETE", path=_ONE, view=delete_account, tag=_TAG, status=204, python="State.remove_account"),
    Operation(
        method="POST",
        path=f"{_ONE}/rotate",
        view=rotate_keys,
        tag=_TAG,
        body=NewKeys,
        answer=IssuedKeys,
        errors=(409,),
        python="State.rotate",
    ),
    Operation(
        method="POST",
        path=f"{_ONE}/tokens/expire",
        view=expire_tokens,
        tag=_TAG,
        answer=TokenCount,
        python="AccountHandle.expire_tokens",
    ),
    Operation(
        method="POST",
        path=f"{_ONE}/tokens/revoke",
        view=revoke_tokens,
        tag=_TAG,
        answer=TokenCount,
        python="State.revoke_tokens",
    ),
    Operation(
        method="POST", path=f"{_ONE}/reset", view=reset_account, tag=_TAG, status=204, python="AccountHandle.reset"
    ),
)
