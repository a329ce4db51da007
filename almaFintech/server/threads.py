"""Threads for an event loop, with a bounded queue.

`loop.run_in_executor` behind an `asyncio.Semaphore` would do the same for three times the processor
time, and leave a thread without work until the loop has handled its last result.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from almaFintech.refusals import Busy

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class Call:
    function: Callable[[Any], Any]
    argument: Any
    # When it stops waiting for a thread, by the clock of the loop.
    deadline: float
    result: "asyncio.Future[Any]"


class Threads:
    """A number of threads. At most `queue_length` calls wait for one, each at most `seconds`."""

    def __init__(self, name: str, number: int, *, queue_length: int, seconds: float) -> None:
        self.queue_length = queue_length
        self.seconds = seconds
        # A call leaves it once, because its methods are atomic: for a thread, or to be rejected.
        self.waiting: deque[Call] = deque()
        # True for each call that was added, False for each thread that shall end.
        self.signals: SimpleQueue[bool] = SimpleQueue()
        self.timer: asyncio.TimerHandle | None = None
        # They do not keep alive a worker that ends without stop().
        self.threads = [
            Thread(target=self._work, name=f"{name}-{index}", daemon=True)
            for index in range(number)
        ]
        for thread in self.threads:
            thread.start()

    async def call(self, function: Callable[[T], R], argument: T) -> R:
        """Call a function in a thread and return its result. Raises Busy if it cannot be called."""
        if len(self.waiting) >= self.queue_length:
            raise Busy
        loop = asyncio.get_running_loop()
        result: asyncio.Future[R] = loop.create_future()
        call = Call(function, argument, loop.time() + self.seconds, result)
        self.waiting.append(call)
        self.signals.put(True)
        # One timer for all calls, since almost all leave the queue long before.
        if self.timer is None:
            self.timer = loop.call_at(call.deadline, self._reject_late, loop)
        return await result

    def stop(self) -> None:
        """Wait for the calls that have been added, and end the threads."""
        for _ in self.threads:
            self.signals.put(False)
        for thread in self.threads:
            thread.join()

    def _reject_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self.timer = None
        for call in tuple(self.waiting):
            if call.deadline > loop.time():
                self.timer = loop.call_at(call.deadline, self._reject_late, loop)
                return
            with suppress(ValueError):
                # It gets no thread if it can still be removed.
                self.waiting.remove(call)
                _finish(call.result, None, Busy())

    def _work(self) -> None:
        while self.signals.get():
            self._run_next()

    def _run_next(self) -> None:
        try:
            call = self.waiting.popleft()
        except IndexError:
            # It was rejected.
            return
        try:
            value, error = call.function(call.argument), None
        except Exception as raised:
            value, error = None, raised
        except BaseException as raised:
            # The thread goes on, and the loop too, which would end with a SystemExit.
            value, error = None, RuntimeError(f"A call ended with {type(raised).__name__}")
        call.result.get_loop().call_soon_threadsafe(_finish, call.result, value, error)


def _finish(result: "asyncio.Future[Any]", value: object, error: Exception | None) -> None:
    if result.done():
        # Nobody waits for it any more.
        return
    if error:
        result.set_exception(error)
    else:
        result.set_result(value)
