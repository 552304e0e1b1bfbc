"""Virtual time without pytest: a night of polling, at once."""

import datetime as dt
import time

from mock_server import MockServer
from qfkit import Client
from qfkit.testing.virtual import virtual_time

with MockServer(port=0) as server, virtual_time() as clock:
    account = server.account()
    account.quota(rpm=2)
    began = dt.datetime.now(dt.timezone.utc)
    with Client(server.url, account.credentials) as client:
        for hour in range(8):
            client.chat(f"第{hour}小时的天气？")
            time.sleep(3600)
    print(clock)
    assert dt.datetime.now(dt.timezone.utc) - began == dt.timedelta(hours=8)
    assert len(account.requests) == 8
