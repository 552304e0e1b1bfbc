"""What a test does with an account's keys and tokens."""

from __future__ import annotations

from mock_server.state import Account, State
from qfkit.protocol.credentials import Credentials


class Keys:
    """The part of an account's handle that is about its keys."""

    _account: Account
    _state: State

    @property
    def credentials(self) -> Credentials:
        """Its newest keys, for all four auth schemes."""
        return self._account.credentials

    def rotate(self, *, keep_old: bool | float = True, **keys: str) -> Credentials:
        """Give the account new keys, as a team does that rotates them; tokens that were issued stay valid.

        A request that is signed with older keys while they last is let in, with the finding ``old-key``; after that
        it is refused, and the diagnosis says that its key was rotated out.

        Args:
            keep_old: how long the keys it has now go on: for ever with True, no longer with False, else so many
                seconds on the server's clock.
            keys: any of ``access_key``, ``secret_key``, ``ak``, ``sk``, ``bearer_token``; the others are generated.

        Returns:
            The new keys, which `credentials` and `env` then have too.

        Raises:
            DuplicateCredentials: a key is taken; nothing was changed.
            ValueError: ``keep_old`` is negative, or no number.
        """
        return self._state.rotate(self._account, Credentials(**keys), keep_old)

    def retire_old_keys(self) -> int:
        """End all but the newest keys now; how many sets of them there were."""
        return self._state.retire_old_keys(self._account)

    def expire_tokens(self) -> int:
        """End the life of every OAuth and bearer token issued to this account; how many there were.

        v1 then answers 111 and v2 ``invalid_iam_token`` until the client fetches a new one.
        """
        return self._state.expire_tokens(self._account)

    def revoke_tokens(self) -> int:
        """Take back every token issued to this account, in the middle of a run; how many there were.

        v1 then answers 110, as to a token that was never issued, and v2 ``invalid_iam_token``.
        """
        return self._state.revoke_tokens(self._account)
