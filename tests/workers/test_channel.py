from __future__ import annotations

import asyncio
import pickle
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hotserve.api.compression import UnpacksTooLarge
from hotserve.errors import Code, NotFound, ServingError, Unavailable
from hotserve.workers.channel import Channel, plain

PATIENCE = 30.0


class End:
    """One end of a channel, and what has come to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Callable[[Any], Awaitable[object]]) -> None:
        self.heard: list[Any] = []
        self.ended = asyncio.Event()
        self.channel = Channel(loop, self.heard.append, answer, self.ended.set)


async def echo(question: Any) -> object:
    return question


@asynccontextmanager
async def connected(answer: Callable[[Any], Awaitable[object]] = echo) -> AsyncIterator[tuple[End, End]]:
    loop = asyncio.get_running_loop()
    ends = End(loop, answer), End(loop, answer)
    for end, connection in zip(ends, socket.socketpair(), strict=True):
        connection.setblocking(False)
        await loop.create_connection(lambda end=end: end.channel, sock=connection)
    yield ends
    for end in ends:
        end.channel.close()
        await asyncio.wait_for(end.ended.wait(), PATIENCE)


def test_messages_of_any_size_arrive_in_the_order_in_which_they_were_sent() -> None:
    async def main() -> list[Any]:
        async with connected() as (one, other):
            for number in range(100):
                one.channel.tell((number, bytes(number * 10_000)))
            await one.channel.ask("whether all of it is there")
            return other.heard

    heard = asyncio.run(main())
    assert [number for number, _ in heard] == list(range(100))
    assert all(len(data) == number * 10_000 for number, data in heard)


def test_what_is_said_before_there_is_a_connection_is_sent_when_there_is_one() -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        one, other = End(loop, echo), End(loop, echo)
        one.channel.tell("early")
        await asyncio.sleep(0)
        ours, theirs = socket.socketpair()
        for connection, end in ((ours, one), (theirs, other)):
            connection.setblocking(False)
            await loop.create_connection(lambda end=end: end.channel, sock=connection)
        await one.channel.ask("late")
        one.channel.close()
        await other.ended.wait()
        return other.heard

    assert asyncio.run(main()) == ["early"]


def test_each_question_gets_its_own_answer_whichever_is_ready_first() -> None:
    async def answer(question: Any) -> object:
        await asyncio.sleep(0.02 if question == "slow" else 0)
        return f"{question} answer"

    async def main() -> list[str]:
        async with connected(answer) as (one, other):
            return list(
                await asyncio.gather(one.channel.ask("slow"), one.channel.ask("quick"), other.channel.ask("back"))
            )

    assert asyncio.run(main()) == ["slow answer", "quick answer", "back answer"]


def test_an_error_is_raised_where_the_question_was_asked_with_its_code_and_words() -> None:
    async def answer(question: Any) -> object:
        raise (NotFound("no such thing") if question == "known" else KeyError("oops"))

    async def main() -> list[ServingError]:
        errors = []
        async with connected(answer) as (one, _):
            for question in ("known", "unknown"):
                with pytest.raises(ServingError) as refused:
                    await one.channel.ask(question)
                errors.append(refused.value)
        return errors

    known, unknown = asyncio.run(main())
    assert str(known) == "NOT_FOUND: no such thing"
    assert str(unknown) == "INTERNAL: KeyError: 'oops'"


def test_an_error_of_any_class_can_be_sent() -> None:
    error = pickle.loads(pickle.dumps(plain(UnpacksTooLarge("too large"))))
    assert (type(error), error.message, error.code) == (ServingError, "too large", UnpacksTooLarge("").code)
    assert error.code is not Code.UNKNOWN


def test_a_question_whose_other_end_goes_is_refused_and_so_are_later_ones() -> None:
    async def never(question: Any) -> object:
        await asyncio.Event().wait()
        return None

    async def main() -> None:
        async with connected(never) as (one, other):
            asked = asyncio.ensure_future(one.channel.ask("anything"))
            await asyncio.sleep(0)
            other.channel.close()
            with pytest.raises(Unavailable):
                await asyncio.wait_for(asked, PATIENCE)
            with pytest.raises(Unavailable):
                await one.channel.ask("again")
            one.channel.tell("to nobody")

    asyncio.run(main())


def test_threads_may_speak_and_each_is_heard_in_its_order() -> None:
    async def main() -> list[Any]:
        async with connected() as (one, other):

            def say(name: str) -> None:
                for number in range(200):
                    one.channel.tell((name, number))

            threads = [threading.Thread(target=say, args=[name]) for name in "abc"]
            for thread in threads:
                thread.start()
            await asyncio.to_thread(lambda: [thread.join() for thread in threads])
            await one.channel.ask("whether all of it is there")
            return other.heard

    heard = asyncio.run(main())
    for name in "abc":
        assert [number for said_by, number in heard if said_by == name] == list(range(200))
