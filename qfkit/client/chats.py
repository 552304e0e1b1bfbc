"""Chat calls: an answer read whole or as it is written, kept for questions that come again, taken up where it broke."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from qfkit.client.answers import api_error
from qfkit.client.cache import Cache
from qfkit.client.caller import Caller, Trip
from qfkit.client.calls import Call
from qfkit.client.events import ChunkReader
from qfkit.client.exceptions import APIError, InvalidReply, QianfanError
from qfkit.client.logs import log_resumption
from qfkit.client.redaction import redact
from qfkit.client.replay import Entry
from qfkit.client.replies import Reply
from qfkit.client.resume import Resume, Resumption
from qfkit.client.streaming import Stream
from qfkit.client.transport import Answer
from qfkit.protocol.messages import Json, MalformedReply, parse_reply


@dataclass(frozen=True, slots=True)
class Chats:
    """Makes the chat calls of one client.

    Attributes:
        caller: makes calls of any kind.
        cache: where answers are kept, None for nowhere.
        base_url: of the service; answers of one are not those of another.
        app_id: the application that is asked for.
    """

    caller: Caller
    cache: Cache | None
    base_url: str
    app_id: str | None

    def whole(self, call: Call, *, cached: bool) -> Reply:
        """The whole answer; from the cache, or kept there, if it may be ``cached``."""
        if self.cache is None or not cached:
            return self.caller.call(call, self._read_whole)
        key = self.cache.key(call, self.base_url, self.app_id)
        return self.cache.reply(key, lambda: self.caller.call(call, self._read_whole))

    def stream(self, call: Call, *, cached: bool, resume: Resume | None, again: Callable[[str], Call]) -> Stream:
        """The answer as it is written.

        Args:
            call: the question.
            cached: it may come from the cache, and be kept there.
            resume: how to go on when it breaks off in the middle, None not to.
            again: the call that goes on, from the text so far.
        """
        caller = self.caller
        resumption = None
        if resume is not None:
            resumption = Resumption(
                mode=resume,
                ask=lambda text: caller.call(again(text), self._read_stream),
                policy=caller.retry,
                clock=caller.clock,
                random=caller.random,
                logged=log_resumption,
            )
        read = partial(self._read_stream, resumption=resumption)
        if self.cache is None or not cached:
            return caller.call(call, read)
        key = self.cache.key(call, self.base_url, self.app_id)
        entry = self.cache.lookup(key)
        if entry is not None:
            return entry.stream(call.dialect, caller.clock)
        return caller.call(call, partial(read, keep=partial(_keep, self.cache, key)))

    def _read_whole(self, trip: Trip, answer: Answer) -> Reply:
        call, log = trip.call, trip.log
        data = self.caller.read_json(trip, answer)
        try:
            said = parse_reply(call.dialect, data)
        except MalformedReply as error:  # its text quotes names out of the answer
            found = redact(str(error), trip.secrets)
            raise InvalidReply(f"{found}. Check that dialect={call.dialect!r} is what base_url speaks") from None
        trip.running.request_id = trip.running.request_id or said.id
        log.end(trip.running)
        reply = Reply.of(
            said,
            model=call.model,
            request_id=trip.running.request_id,
            attempts=log.attempts(),
            latency=log.elapsed(),
            headers=answer.headers,
        )
        if reply.usage is not None:
            trip.slot.settle(reply.usage.total_tokens)
        trip.lines.success(
            attempts=len(reply.attempts),
            latency=reply.latency,
            usage=reply.usage,
            result_length=len(reply.text),
            latency_headers=trip.headers_after,
            request_id=reply.request_id,
        )
        return reply

    def _read_stream(
        self,
        trip: Trip,
        answer: Answer,
        keep: Callable[[Stream, list[Json]], None] | None = None,
        resumption: Resumption | None = None,
    ) -> Stream:
        call, lines, slot, headers_after = trip.call, trip.lines, trip.slot, trip.headers_after
        is_json = "json" in answer.headers.get("Content-Type", "").lower()
        # v1 and v2 answer with plain JSON instead of a stream when they refuse (3.5, 5.2).
        if not 200 <= answer.status < 300 or (is_json and call.dialect != "text_generation"):
            self.caller.read_json(trip, answer)
            raise InvalidReply(f"the {call.dialect} service sent a whole answer where a stream was asked for")

        def check(event: Json) -> APIError | None:
            return api_error(
                call.dialect, 200, answer.headers, event, now=self.caller.clock.time(), secrets=trip.secrets
            )

        record: list[Json] | None = None if keep is None else []

        def on_end(stream: Stream, error: QianfanError | None) -> None:
            if error is None:
                if stream.usage is not None:
                    slot.settle(stream.usage.total_tokens)
                lines.success(
                    attempts=len(stream.attempts),
                    latency=stream.latency,
                    usage=stream.usage,
                    result_length=len(stream.text),
                    latency_headers=headers_after,
                    latency_first_token=stream.ttft,
                    request_id=stream.request_id,
                )
                if keep is not None and record is not None:
                    keep(stream, record)
            else:
                lines.failure(error, stream.latency, len(stream.attempts), what="stream failed")

        stream = Stream(
            answer=answer,
            reader=ChunkReader(call.dialect, check, partial(redact, secrets=trip.secrets)),
            log=trip.log,
            running=trip.running,
            model=call.model,
            request_id=trip.running.request_id,
            on_end=on_end,
            on_close=slot.release,
            record=record,
            resumption=resumption,
        )
        stream.open()
        return stream


def _keep(cache: Cache, key: str, stream: Stream, events: list[Json]) -> None:
    # A function of its own, and no method: a stream that its reader drops must not be held by what would keep it.
    if events:  # else the service said only that it was done
        cache.store(key, Entry.of(stream.reply(), tuple(events)))
