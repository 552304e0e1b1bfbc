"""Many questions at once: answers in the order of the questions, whatever becomes of each."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, TypeVar

from qfkit.client.exceptions import ConfigurationError, QianfanError
from qfkit.client.progress import Progress

P = TypeVar("P")
T = TypeVar("T")

#: Questions taken ahead of the one whose answer is due, for each worker: the others stay busy while one is slow.
_AHEAD = 4
_MOST_WORKERS = 1000


class Batch(Iterator["T | QianfanError"], Generic[P, T]):
    """The answers of `Client.map`, one for each prompt, in order. Iterate over it once, in one thread.

    Prompts are taken as answers are, a few for each worker ahead, so a generator of a million is never held in memory.
    An answer that is a `QianfanError` is what that question failed with; the others go on.

    Closing it (also: leaving its ``with`` block, dropping it, Ctrl-C while waiting for an answer) cancels the questions
    that have not begun and returns at once. Those under way are not cut off, but nobody waits for them, not even the
    interpreter when it exits: the threads are daemons, where those of `concurrent.futures` would hold it up until the
    last answer.
    """

    def __init__(
        self, ask: Callable[[P], T], prompts: Iterable[P], max_workers: int, progress: Progress | None = None
    ) -> None:
        if max_workers not in range(1, _MOST_WORKERS + 1):
            raise ConfigurationError(
                f"max_workers is a whole number from 1 to {_MOST_WORKERS}, the questions asked at once; "
                f"got {max_workers!r}"
            )
        self._ask = ask
        self._progress = progress
        self._prompts = iter(prompts)
        self._size = max_workers
        self._window: deque[Future[T]] = deque()
        self._jobs: SimpleQueue[tuple[Future[T], P] | None] = SimpleQueue()
        self._workers = 0
        self._source_error: list[BaseException] = []  # what `prompts` failed with, raised when its turn comes
        self._ended = False

    def __iter__(self) -> Batch[P, T]:
        return self

    def __next__(self) -> T | QianfanError:
        try:
            self._fill()
            if self._window:
                result = self._result(self._window.popleft())
                if self._progress is not None:
                    self._progress.advance()
                return result
        except BaseException:
            self.close()
            raise
        self.close()
        if self._source_error:
            raise self._source_error.pop()
        raise StopIteration

    def close(self) -> None:
        """Cancel what has not begun. Safe to repeat."""
        self._ended = True
        if self._progress is not None:
            self._progress.close()
        while self._window:
            self._window.pop().cancel()
        for _ in range(self._workers):
            self._jobs.put(None)
        self._workers = 0

    def __enter__(self) -> Batch[P, T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if "_ended" in self.__dict__:  # __init__ was content with its arguments
            self.close()

    def _fill(self) -> None:
        """Take prompts until the window is full."""
        while not self._ended and len(self._window) < self._size * _AHEAD:
            try:
                prompt = next(self._prompts)
            except StopIteration:
                self._ended = True
                return
            except Exception as error:  # noqa: BLE001 - raised by __next__, after the answers that come before it
                self._source_error.append(error)
                self._ended = True
                return
            future: Future[T] = Future()
            self._window.append(future)
            self._jobs.put((future, prompt))
            if self._workers < self._size:
                self._workers += 1
                # The worker knows the queue, not the batch: one that is dropped can be collected, and closes.
                threading.Thread(target=_work, args=(self._jobs, self._ask), name="qfkit-map", daemon=True).start()

    @staticmethod
    def _result(future: Future[T]) -> T | QianfanError:
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, QianfanError):
            return error
        raise error  # not a failure of the call but a bug: it must not pass for an answer


def _work(jobs: SimpleQueue[tuple[Future[T], P] | None], ask: Callable[[P], T]) -> None:
    while (job := jobs.get()) is not None:
        future, prompt = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(ask(prompt))
        except BaseException as error:  # noqa: BLE001 - handed over to whoever iterates
            future.set_exception(error)
        del job, future, prompt  # while it waits, a worker holds on to nothing
