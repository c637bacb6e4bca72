"""The callbacks of an application on a loop: functions, coroutine functions, and what they raise."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from kafka_throttle._aio.callbacks import Callbacks


class Told(list[Any]):
    def __call__(self, *args: Any) -> None:
        self.append(args)


def test_the_clients_callbacks_are_replaced_and_others_are_left_to_it() -> None:
    async def main() -> None:
        told = Told()
        conf: dict[str, Any] = {"error_cb": told, "stats_cb": 5, "oauth_cb": told, "linger.ms": 1}
        Callbacks(asyncio.get_running_loop(), conf)
        assert (conf["stats_cb"], conf["oauth_cb"] is told, conf["linger.ms"]) == (5, True, 1)
        assert conf["error_cb"] is not told
        conf["error_cb"]("an error")
        assert told == [("an error",)]

    asyncio.run(main())


def test_the_callback_of_the_configuration_is_the_default() -> None:
    async def main() -> None:
        told = Told()
        conf: dict[str, Any] = {"on_delivery": told}
        callbacks = Callbacks(asyncio.get_running_loop(), conf)
        assert (conf, callbacks.default is None) == ({}, False)
        callbacks.default(None, "a message")  # type: ignore[misc]
        assert told == [(None, "a message")]
        assert Callbacks(asyncio.get_running_loop(), {}).default is None

    asyncio.run(main())


def test_successes_are_kept_from_callbacks_for_errors_alone_and_not_from_the_futures() -> None:
    async def main() -> None:
        told = Told()
        conf: dict[str, Any] = {"delivery.report.only.error": True}
        report = Callbacks(asyncio.get_running_loop(), conf).of_record(told)
        report(None, "a message")
        report("an error", "a message")
        assert (told, conf) == ([("an error", "a message")], {"delivery.report.only.error": False})

    asyncio.run(main())


def test_a_coroutine_is_kept_until_it_has_ended() -> None:
    told = Told()

    async def later(*args: Any) -> None:
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0)
        told(*args)

    async def main() -> None:
        callbacks = Callbacks(asyncio.get_running_loop(), {})
        callbacks.of(later)(1, 2)
        while not told:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert told == [(1, 2)]


def test_what_a_callback_raises_is_told_to_the_loop_alone() -> None:
    complaints: list[Any] = []

    def fail() -> None:
        raise ValueError("of a callback")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        Callbacks(loop, {}).of(fail)()

    asyncio.run(main())
    assert [(str(each["exception"]), "fail" in each["message"]) for each in complaints] == [
        ("of a callback", True)
    ]
