"""Every file beside this one starts a mock; one is changed while the mock runs."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mock_server import ConfigError, MockServer
from qfkit import Client, Credentials, QianfanError

HERE = Path(__file__).parent

for file in sorted(HERE.glob("*.yaml")):
    with MockServer(config=file) as server:
        print(f"{file.name}: {server.default_account.name} waits with {server.default_account.waiting}")

with MockServer(config=HERE / "rules.yaml") as server:
    client = Client(server.url, server.default_account.credentials, dialect="v2")
    assert client.chat("明天天气怎么样？", model="ernie-3.5-8k").text == "晴"
    try:
        client.chat("讲个笑话", model="ernie-3.5-8k")
    except QianfanError as error:
        print(error)
    print(server.default_account.requests[-1].near_misses[0])
    client.close()

with MockServer(config=HERE / "rotation.yaml") as server:
    for key in ("bce-v3/ALTAK-new/key", "bce-v3/ALTAK-old/key"):
        client = Client(server.url, Credentials(bearer_token=key), dialect="v2")
        assert client.chat("你好", model="ernie-3.5-8k").text
        client.close()

with TemporaryDirectory() as folder:
    file = Path(folder, "mock.yaml")
    file.write_text("accounts:\n  - {name: shop, script: [{reply: one}]}\n", "utf-8")
    with MockServer(config=file) as server:
        file.write_text("accounts:\n  - {name: shop, script: [{reply: two}]}\n", "utf-8")
        print(server.reload())
        assert server.default_account.waiting == ["reply 'two' x1"]
        file.write_text("accounts:\n  - {name: shop, scrpt: []}\n", "utf-8")
        try:
            server.reload()
        except ConfigError as error:
            print(error)
        assert server.default_account.waiting == ["reply 'two' x1"]
