"""Signing with keys that may change while the client works."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from requests import PreparedRequest

from qfkit.client.exceptions import APIError, AuthenticationError
from qfkit.client.providers import KeyRing
from qfkit.client.schemes import Auth, Proof
from qfkit.protocol.credentials import Credentials


class RotatingAuth:
    """An auth scheme over a `KeyRing`: each request is signed with the keys that are current, and says which.

    Args:
        ring: the keys.
        make: the scheme for one set of keys.

    Raises:
        ConfigurationError: the first keys do not fit the dialect.
    """

    def __init__(self, ring: KeyRing, make: Callable[[Credentials], Auth]) -> None:
        self._ring = ring
        self._make = make
        self._lock = threading.Lock()
        self._keys = ring.current()
        self._auth = make(self._keys)

    @property
    def scheme(self) -> str:
        """The scheme that the keys are for."""
        return self._auth.scheme

    def authorize(self, request: PreparedRequest) -> Proof:
        """Sign with the current keys; where they no longer buy a token, with those that the provider has instead."""
        keys, auth = self._current()
        url = request.url
        try:
            return self._proof(keys, auth, request)
        except AuthenticationError:  # of the token service: the request itself has not been sent
            if not self._ring.replace(keys):
                raise
        request.url = url
        return self._proof(*self._current(), request)

    def renew(self, error: APIError, proof: Proof) -> bool:
        """Whether a fresh token, or the provider's other keys, may do better."""
        if proof.signer is not None and proof.signer.renew(error, proof):
            return True
        return isinstance(error, AuthenticationError) and proof.keys is not None and self._ring.replace(proof.keys)

    def _current(self) -> tuple[Credentials, Auth]:
        keys = self._ring.current()
        with self._lock:
            if keys != self._keys:
                self._keys, self._auth = keys, self._make(keys)
            return self._keys, self._auth

    @staticmethod
    def _proof(keys: Credentials, auth: Auth, request: PreparedRequest) -> Proof:
        proof = auth.authorize(request)
        return replace(proof, sensitive=(*proof.sensitive, *keys.secrets()), keys=keys, signer=auth)
