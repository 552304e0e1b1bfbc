"""openai-python, as it is made from its environment alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import openai
from conform_sample import sample

from qfkit.testing.conformance import Conformance

MODEL = "ernie-4.0-8k"


class TestOpenAI(Conformance):
    dialect = "v2"
    packages = ("openai",)
    read_timeout = 600.0  # its default
    deviations: ClassVar = {
        **dict.fromkeys(
            ("answers/empty-object", "answers/list", "answers/null", "answers/web-page", "damage/not-an-object"),
            "it hands on whatever came, as an object without `choices` or as the page's text; who reads the answer as "
            "documented falls over it",
        ),
        **dict.fromkeys(
            ("cuts/empty-body", "cuts/inside-an-event", "cuts/no-end-event", "failures/web-page"),
            "it takes the end of the body for the end of the answer, and looks for neither finish_reason nor [DONE]",
        ),
        **dict.fromkeys(
            ("fields/bom", "splits/inside-the-bom"),
            "its decoder keeps a byte order mark, so that the first field has another name, and its event is lost",
        ),
        "fields/no-data": "its decoder hands on events without data, and their empty text is no JSON",
        "damage/bad-utf-8": "its decoder is strict, and lets the UnicodeDecodeError through",
        "damage/text-is-a-number": "it checks no types",
    }
    cases = sample(deviations)

    def make(self, env: Mapping[str, str]) -> openai.OpenAI:
        return openai.OpenAI()

    def call(self, prompt: str) -> Any:
        return self.client.chat.completions.create(**_ask(prompt)).choices[0].message.content

    def stream(self, prompt: str) -> Iterator[Any]:
        with self.client.chat.completions.create(**_ask(prompt), stream=True) as chunks:
            for chunk in chunks:
                if chunk.choices and chunk.choices[0].delta.content is not None:
                    yield chunk.choices[0].delta.content


def _ask(prompt: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
