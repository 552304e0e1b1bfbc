"""An asynchronous client: call and stream run its event loop. Here some cases alone, those about time."""

import asyncio

import openai

from qfkit.testing.conformance import CASES, Conformance


class TestAsync(Conformance):
    dialect = "v2"
    packages = ("openai",)
    read_timeout = 600
    cases = [case for case in CASES if case.area in {"retry-after", "stalls", "ends"}]

    def make(self, env):
        self.loop = asyncio.new_event_loop()
        return openai.AsyncOpenAI()  # the environment names the mock

    def ask(self, prompt, **options):
        question = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": prompt}]}
        return self.loop.run_until_complete(self.client.chat.completions.create(**question, **options))

    def call(self, prompt):
        return self.ask(prompt).choices[0].message.content

    def stream(self, prompt):
        chunks = self.ask(prompt, stream=True)
        try:
            while (chunk := self.loop.run_until_complete(anext(chunks, None))) is not None:
                yield chunk.choices[0].delta.content or ""
        finally:
            self.loop.run_until_complete(chunks.close())

    def close(self):
        self.loop.run_until_complete(self.client.close())
        self.loop.close()
