"""Why a captured request is refused: with the library, and with `qfkit sign --explain` on the same request."""

import subprocess
import sys

from qfkit.cli.sign_input import read_raw
from qfkit.protocol.signing import explain, sign_hmac

ACCESS_KEY, SECRET_KEY = "ALTAKexample", "0123456789abcdef0123456789abcdef"
PATH = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
TIME = 1714550400

# The client signs the payload as json.dumps writes it, and its HTTP library sends it written anew, without spaces.
headers = sign_hmac(
    access_key=ACCESS_KEY,
    secret_key=SECRET_KEY,
    method="POST",
    target=PATH,
    body='{"messages": [{"role": "user", "content": "你好"}]}'.encode(),
    timestamp=TIME,
    nonce="12345",
)
lines = [f"POST {PATH} HTTP/1.1", "Host: 127.0.0.1:8866", *(f"{name}: {value}" for name, value in headers.items())]
captured = "\r\n".join([*lines, "", '{"messages":[{"role":"user","content":"你好"}]}']).encode()

verdict = explain(read_raw(captured), SECRET_KEY, now=TIME)
print(verdict.render())
assert verdict.cause == "body-reserialised"

# The same on the command line; a file's name in place of - reads it from there.
command = ["-m", "qfkit", "sign", "--explain", "--request", "-", "--secret-key", SECRET_KEY]
told = subprocess.run([sys.executable, *command], input=captured, capture_output=True, check=False)
assert told.returncode == 1, told.stderr  # 0 would be: the signature is right
assert b"Cause: body-reserialised" in told.stdout
