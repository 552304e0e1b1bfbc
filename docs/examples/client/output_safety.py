"""What is shown: word lists, restricted topics, the service's own marks; whole answers and streams alike."""

from mock_server import MockServer
from qfkit import Client, Safety, ServiceFlags, Topic, Topics, UnsafeContent, WordList

safety = Safety(
    output=[
        ServiceFlags(),  # need_clear_history, ban_round, flag, finish_reason: raise
        WordList(["敏感词", "vpn"], action="mask"),  # or WordList(Path("words.txt"))
        Topics([Topic("weapons", all_of=["炸药"], any_of=["配方", "制作"], none_of=["新闻"])], action="drop"),
    ]
)

with MockServer() as server:
    account = server.account()
    account.reply("这是敏感词, 用 ＶＰＮ。炸药的配方是保密的。再见").loop()
    with Client(server.url, account.credentials, safety=safety) as client:
        assert client.chat("你好").text == "这是***, 用 ***。再见"

        stream = client.stream("你好")  # text is let go as soon as it cannot become a word any more
        assert "".join(chunk.text for chunk in stream) == "这是***, 用 ***。再见"
        print(*stream.safety, sep="\n")

        strict = Safety(output=[WordList(["敏感词"])])  # raise
        try:
            client.chat("你好", safety=strict)
        except UnsafeContent as error:
            refused = error
        print(refused.rule, refused.kind, refused.found)  # WordList word 敏**
        assert refused.text == "这是"

        assert "敏感词" in client.chat("你好", safety=False).text
