"""A rehearsal of a live run: a second mock stands for the real service, and nothing leaves the machine."""

import os
import subprocess
import sys
from pathlib import Path

from mock_server import MockServer

with MockServer() as service:
    keys = service.account().credentials.environment()  # yours, when it is the real service
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider"),
            *("--qianfan-live", f"--qianfan-live-gateway={service.url}", "--qianfan-live-max-requests=5"),
            str(Path(__file__).with_name("test_smoke.py")),
        ],
        env={**os.environ, **keys},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0
    assert "2 passed, 1 skipped" in done.stdout
    assert "sent 2 of 5 requests" in done.stdout
    assert len(service.requests) == 2
