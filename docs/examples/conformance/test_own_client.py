"""A client of one's own, v2 on requests, and the suite that it is held to: the last lines are all it takes."""

import json
import os
import random
import re
import time
from email.utils import parsedate_to_datetime

import requests

from qfkit.testing.conformance import conformance

ATTEMPTS, PATIENCE, TIMEOUT = 3, 60.0, 30.0
RETRYABLE = {408, 429, 500, 502, 503, 504}


class AnswerFailed(Exception):
    """There is no answer, or not all of it."""


def ask(prompt):
    content = send(prompt, stream=False).content
    try:
        return json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise AnswerFailed("what came is no answer") from None


def ask_stream(prompt):
    complete = False
    with send(prompt, stream=True) as response:
        for data in events(response):
            if data == "[DONE]":
                return
            event = parsed(data)
            for choice in event.get("choices") or []:
                if isinstance(text := choice.get("delta", {}).get("content"), str):
                    yield text
                complete = complete or choice.get("finish_reason") is not None
    if not complete:
        raise AnswerFailed("the stream broke off")


def parsed(data):
    try:
        event = json.loads(data)
    except ValueError:
        raise AnswerFailed("an event cannot be read") from None
    if not isinstance(event, dict) or event.get("error"):
        raise AnswerFailed(f"the service failed: {data[:200]}")
    return event


def send(prompt, stream):
    for attempt in range(1, ATTEMPTS + 1):
        asked = 0.0
        try:
            response = requests.post(
                os.environ["OPENAI_BASE_URL"] + "/chat/completions",
                headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
                json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": prompt}], "stream": stream},
                stream=stream,
                timeout=TIMEOUT,
            )
        except requests.RequestException as error:
            failure = AnswerFailed(f"no answer: {type(error).__name__}")
        else:
            if response.status_code == 200:
                return response
            failure = AnswerFailed(f"HTTP {response.status_code}: {response.text[:200]}")
            asked = asked_to_wait(response.headers)
            if response.status_code not in RETRYABLE or asked > PATIENCE:
                break
        if attempt < ATTEMPTS:
            time.sleep(asked or random.uniform(0.5, 1.0) * 2 ** (attempt - 1))
    raise failure


def asked_to_wait(headers):
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        return max(0.0, parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time())
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0.0


def events(response):
    found = []
    for line in lines(response):
        name, _, value = line.partition(":")
        if name == "data":
            found.append(value.removeprefix(" "))
        elif not line and found:
            yield "\n".join(found)
            found = []


def lines(response):
    rest = b""
    try:
        for piece in response.iter_content(None):
            *whole, rest = re.split(rb"\r\n|\n|\r(?!\Z)", rest + piece)
            for line in whole:
                yield line.decode("utf-8", "replace").removeprefix("\ufeff")
    except requests.RequestException as error:
        raise AnswerFailed(f"the stream broke off: {type(error).__name__}") from None


TestOwnClient = conformance(ask, ask_stream, dialect="v2", read_timeout=TIMEOUT, errors=(AnswerFailed,))
