"""`qfkit chat --file`: a file of prompts from the shell; results are JSON lines, and a run that was stopped goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

from mock_server import MockServer

Path("prompts.jsonl").write_text('{"id": "a", "prompt": "一"}\n{"id": "b", "prompt": "坏"}\n', "utf-8")
command = [sys.executable, "-c", "from qfkit.cli import main; main()", "chat", "--file", "prompts.jsonl"]
command += ["--out", "results.jsonl", "--resume", "--dialect", "v1"]

with MockServer() as server:
    account = server.account()
    account.on(contains="坏").fail(336003, times=1).then.reply("好了")
    environment = {**os.environ, **account.env()}
    first = subprocess.run(command, env=environment, check=False)
    assert first.returncode == 1  # one failed
    subprocess.run(command, env=environment, check=True)  # asks it again, and nothing else
    chats = [entry for entry in account.requests if entry.operation == "chat"]
    assert len(chats) == 3

results = [json.loads(line) for line in Path("results.jsonl").read_text("utf-8").splitlines()]
for result in results:
    print(result["id"], result["text"], result["usage"], len(result["attempts"]))
assert [result["error"] for result in results] == [None, None]
