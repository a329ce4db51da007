"""The threads of the gateway, and the queue in front of them."""

import asyncio
import sys
import threading
from collections.abc import Iterator

import pytest

from almaFintech.refusals import Busy
from almaFintech.server.threads import Threads


@pytest.fixture
def one() -> Iterator[Threads]:
    threads = Threads("one", 1, queue_length=2, seconds=0.3)
    yield threads
    threads.stop()


def test_a_call_returns_what_the_function_returns_or_raises(one):
    async def use() -> None:
        assert await one.call(str, 5) == "5"
        with pytest.raises(ValueError, match="invalid literal"):
            await one.call(int, "five")
        assert await one.call(int, "5") == 5

    asyncio.run(use())


def test_a_thread_survives_the_end_of_the_interpreter_that_a_call_asks_for(one):
    async def use() -> None:
        with pytest.raises(RuntimeError, match="SystemExit"):
            await one.call(sys.exit, 3)
        assert await one.call(str, 5) == "5"

    asyncio.run(use())


def test_calls_get_threads_in_their_order(one):
    called: list[int] = []

    async def use() -> None:
        await asyncio.gather(*(one.call(called.append, number) for number in range(2)))
        await asyncio.gather(*(one.call(called.append, number) for number in range(2, 4)))

    asyncio.run(use())
    assert called == [0, 1, 2, 3]


def test_calls_are_rejected_if_too_many_wait_or_too_long(one):
    running, over = threading.Event(), threading.Event()
    called: list[str] = []

    def hold(_: object) -> None:
        running.set()
        over.wait(30)

    async def use() -> None:
        held = asyncio.create_task(one.call(hold, None))
        await asyncio.to_thread(running.wait, 30)
        loop = asyncio.get_running_loop()
        start = loop.time()
        late = [asyncio.create_task(one.call(called.append, "late")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await one.call(called.append, "surplus")
        assert loop.time() - start < 0.3

        for call in late:
            with pytest.raises(Busy):
                await call
        assert loop.time() - start >= 0.3
        # There is room again, and the deadline of the next call counts from now.
        after = asyncio.create_task(one.call(called.append, "after"))
        await asyncio.sleep(0.1)
        over.set()
        await after
        await held

    asyncio.run(use())
    assert called == ["after"]


def test_a_stop_waits_for_all_calls(one):
    running, over = threading.Event(), threading.Event()
    called: list[str] = []

    def hold(_: object) -> None:
        running.set()
        over.wait(30)
        called.append("first")

    async def use() -> None:
        calls = [
            asyncio.create_task(one.call(hold, None)),
            asyncio.create_task(one.call(called.append, "second")),
        ]
        await asyncio.to_thread(running.wait, 30)
        threading.Timer(0.1, over.set).start()
        one.stop()
        assert called == ["first", "second"]
        await asyncio.gather(*calls)

    asyncio.run(use())


def test_nobody_may_wait_for_a_result(one):
    """A result without a waiting coroutine is no error, and the thread goes on."""
    running, over = threading.Event(), threading.Event()
    errors: list[dict[str, object]] = []

    def hold(_: object) -> None:
        running.set()
        over.wait(30)

    async def use() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
        held = asyncio.create_task(one.call(hold, None))
        await asyncio.to_thread(running.wait, 30)
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        over.set()
        assert await one.call(str, 5) == "5"
        assert errors == []

    asyncio.run(use())
