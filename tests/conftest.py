"""Settings that hold for the whole suite."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Deadlines measure the machine, and CI's is shared; the counts of examples are set where they matter.
settings.register_profile("qfkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("qfkit")

# A developer's own keys must not leak into tests, nor tests into a developer's account.
for name in [name for name in os.environ if name.startswith(("QIANFAN_", "OPENAI_"))]:
    del os.environ[name]
