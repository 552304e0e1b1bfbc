"""What is sent: no invisible characters, personal data masked, length bounded; values come back in the answer."""

from mock_server import MockServer
from qfkit import Client, InputRefused, Mask, MaxLength, Pattern, Safety, StripControl

safety = Safety(
    input=[
        StripControl(),
        Mask(kinds=["key", "email", "identity", "bank_card", "mobile", Pattern("staff", r"E\d{6}")]),
        MaxLength(chars=4096),
    ]
)

with MockServer() as server:
    account = server.account()
    account.echo("收到: ").loop()
    with Client(server.url, account.credentials, safety=safety) as client:
        reply = client.chat("请联系 E000123\u200b, 电话 13812345678")
        assert "13812345678" not in account.requests[0].body.decode()
        assert reply.text == "收到: 请联系 E000123, 电话 13812345678"  # put back; the mock was shown placeholders
        for finding in reply.safety:
            print(finding)  # which rule, what kind, how often, where; never the value

        streamed = "".join(chunk.text for chunk in client.stream("电话 13812345678"))
        assert "13812345678" in streamed  # also where the placeholder came in pieces

        try:
            client.chat("长" * 5000)
        except InputRefused as error:
            print(error)  # nothing was sent
        else:
            raise AssertionError("too long")

        print(safety.clean("写信到 someone@example.com")[0])  # for what you write to a file of your own
