"""Which quota a request of an account falls under."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Final

from mock_server.quota.limits import BUILT_IN, Limits
from mock_server.quota.meter import Quota
from qfkit.clock import SYSTEM_CLOCK, Clock
from qfkit.protocol.models import by_name

#: Models that are counted by themselves. Of further ones those that the table does not know are counted together, and
#: so are those with a longer name: clients make names up, and must not fill the memory.
OWN_COUNTERS: Final = 1000
LONGEST_NAME: Final = 200

#: Under which name they are counted together.
OTHERS: Final = "*"

_NO_QUOTA: Final = Quota(Limits())


class Quotas:
    """All quotas of one account. Every operation is atomic: any number of threads may call it.

    The limits of a model are its own if they were set; else the account's, counted for each model by itself; else those
    that hold without anybody's doing (text_generation's 100 QPS). One set of limits replaces another as a whole.
    """

    def __init__(
        self,
        clock: Clock = SYSTEM_CLOCK,
        *,
        default: Limits | None = None,
        models: Mapping[str, Limits] | None = None,
    ) -> None:
        """Quotas that count by ``clock``; ``default`` and ``models`` as `set` has them."""
        self._clock = clock
        self._lock = threading.Lock()
        self._default = default
        self._own = {_key(name): limits for name, limits in (models or {}).items()}
        #: Name as the table knows it -> quota.
        self._quotas: dict[str, Quota] = {}
        #: Name as requests spell it -> quota, so that each is looked up once.
        self._named: dict[str, Quota] = {}

    def of(self, model: str) -> Quota:
        """The quota of a model.

        Args:
            model: its name in any spelling that the table knows, the name of a user's own service, or
                ``text_generation`` for that dialect, which has no models.
        """
        quota = self._named.get(model)
        return quota if quota is not None else self._find(model)

    def set(self, limits: Limits, model: str | None = None) -> None:
        """Limit one model, or with None every model that has no limits of its own; ``Limits()`` lifts them.

        Counting begins anew for the models concerned, and answers on their way are counted no more.
        """
        with self._lock:
            if model is None:
                self._default = limits
                self._quotas = {name: quota for name, quota in self._quotas.items() if name in self._own}
            else:
                key = _key(model)
                self._own[key] = limits
                self._quotas.pop(key, None)
            self._named = {}

    def reset(self) -> None:
        """Begin to count anew; the limits stay."""
        with self._lock:
            self._quotas, self._named = {}, {}

    def to_dict(self) -> dict[str, Any]:
        """The limits, and what is used of them, as JSON-ready data. Models that nobody asked for have used nothing."""
        with self._lock:
            default, own, quotas = self._default, dict(self._own), dict(self._quotas)
        models: dict[str, Any] = {name: {"limits": limits.to_dict(), "used": {}} for name, limits in own.items()}
        for name, quota in quotas.items():
            models[name] = {"limits": quota.limits.to_dict(), "used": quota.used()}
        return {"default": default.to_dict() if default else None, "models": models}

    def _find(self, model: str) -> Quota:
        key = _key(model)
        with self._lock:
            limits = self._own.get(key) or self._default or BUILT_IN.get(key)
            if limits is None or not limits.limited:
                quota = _NO_QUOTA
            else:
                if not self._counted_alone(key):
                    key = OTHERS
                note = _BUILT_IN_NOTE if limits is BUILT_IN.get(key) else ""
                quota = self._quotas.get(key) or Quota(limits, self._clock, note)
                self._quotas[key] = quota
            if len(self._named) < OWN_COUNTERS and len(model) <= LONGEST_NAME:
                self._named[model] = quota
            return quota

    def _counted_alone(self, key: str) -> bool:
        if key in self._quotas or key in self._own or key in BUILT_IN or by_name(key):
            return True
        return len(self._quotas) < OWN_COUNTERS and len(key) <= LONGEST_NAME


#: What is said beside a refusal by a limit that nobody set.
_BUILT_IN_NOTE = "; it is the documented default: the setting quota: none lifts it (MockServer(quota='none'))"


def _key(name: str) -> str:
    """The name by which the table knows a model; one that it does not know in lower case."""
    model = by_name(name)
    return model.name if model else name.strip().casefold()
