"""Pictures: from a path, bytes, an open file or a URL."""

import base64
import tempfile
from pathlib import Path

from mock_server import MockServer
from qfkit import Client, ConfigurationError, image

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAD0lEQVR4nGNoQAMMI1sAAAUMgAFaSOXNAAAAAElFTkSuQmCC"
)

with MockServer() as server, tempfile.TemporaryDirectory() as folder:
    account = server.account()
    path = Path(folder) / "cat.png"
    path.write_bytes(DOT)

    with Client(server.url, account.credentials, dialect="v2", model="ernie-4.5-turbo-vl") as client:
        reply = client.chat("图里有什么?", images=[path, DOT, "https://example.com/cat.png"])
        print(reply.text)

        # The same by hand, where the order of text and pictures matters.
        parts = [{"type": "text", "text": "之前:"}, image(path, detail="low"), {"type": "text", "text": "图里有什么?"}]
        client.chat([{"role": "user", "content": parts}])

        talk = client.conversation()
        talk.say("看图", images=[path])
        talk.say("什么颜色?")  # the picture goes along
        assert len(talk) == 2

        try:
            client.chat("看图", images=[b"%PDF-1.7"])
        except ConfigurationError as error:
            print(error)  # nothing was sent

    # v1 has an endpoint of its own: one picture, one question.
    with Client(server.url, account.credentials, dialect="v1", model="fuyu-8b") as client:
        print(client.chat("图里有什么?", images=[path]).text)
