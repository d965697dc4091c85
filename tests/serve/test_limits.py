"""Work is bounded, and what nobody waits for is not done."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from mobilesam.serve.guard import Guard
from mobilesam.serve.limits import Abandoned, Caller, Gate, Uploads
from mobilesam.serve.metrics import Metrics
from mobilesam.serve.problems import Busy, json_response
from mobilesam.serve.settings import ServeSettings


def test_callers_beyond_the_queue_are_refused_at_once() -> None:
    async def main() -> None:
        gate, go = Gate(1, 1), threading.Event()
        tasks = [asyncio.ensure_future(gate.run(lambda _: go.wait(10))) for _ in range(2)]
        await asyncio.sleep(0)
        assert gate.is_full
        with pytest.raises(Busy):
            await gate.run(lambda _: True)
        go.set()
        assert await asyncio.gather(*tasks) == [True, True]
        assert gate.inside == 0
        gate.close()

    asyncio.run(main())


def test_a_waiting_caller_that_goes_away_leaves_the_queue_and_its_work_is_never_done() -> None:
    async def main() -> None:
        gate, go, done = Gate(1, 1), threading.Event(), []
        first = asyncio.ensure_future(gate.run(lambda _: go.wait(10)))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(gate.run(lambda _: done.append(1)))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        assert not gate.is_full
        go.set()
        await first
        assert not done
        gate.close()

    asyncio.run(main())


def test_a_computing_caller_that_goes_away_keeps_its_slot_until_the_thread_notices() -> None:
    async def main() -> None:
        gate, ended = Gate(1, 0), []

        def work(caller: Caller) -> None:
            try:
                while True:
                    caller.check()
                    time.sleep(0.005)
            except Abandoned:
                ended.append(True)
                raise

        task = asyncio.ensure_future(gate.run(work))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert gate.is_full
        while gate.is_full:
            await asyncio.sleep(0.005)
        assert ended  # type: ignore[unreachable]
        gate.close()

    asyncio.run(main())


def test_uploads_are_counted_in_requests_and_bytes() -> None:
    uploads = Uploads(1, 10)
    uploads.enter()
    uploads.take(10)
    with pytest.raises(Busy):
        uploads.take(1)
    with pytest.raises(Busy):
        uploads.enter()
    uploads.leave(10)
    uploads.enter()
    uploads.take(10)


class Exchange:
    """One request to a guard, message by message."""

    def __init__(self, app: Any, **settings: Any) -> None:
        self.gate, self.uploads, self.sent = Gate(1, 0), Uploads(9, 99), []
        self.guard = Guard(app, ServeSettings(**settings), self.gate, self.uploads, Metrics())
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()

    async def run(self) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
        await self.guard(scope, self.incoming.get, send)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]


def test_a_slow_upload_and_slow_work_end_at_the_deadline() -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        slow_upload = Exchange(endless, deadline=0.05)
        slow_upload.incoming.put_nowait({"type": "http.request", "body": b"abc", "more_body": True})
        await slow_upload.run()
        assert slow_upload.status == 504
        assert slow_upload.uploads.buffered == slow_upload.uploads.requests == 0
        slow_work = Exchange(endless, deadline=0.05)
        slow_work.incoming.put_nowait({"type": "http.request", "body": b""})
        await slow_work.run()
        assert slow_work.status == 504

    asyncio.run(main())


def test_a_client_that_goes_away_cancels_its_work_and_frees_its_bytes() -> None:
    cancelled = []

    async def work(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        exchange = Exchange(work)
        exchange.incoming.put_nowait({"type": "http.request", "body": b"abc"})
        task = asyncio.ensure_future(exchange.run())
        await asyncio.sleep(0.02)
        assert exchange.uploads.buffered == 3
        exchange.incoming.put_nowait({"type": "http.disconnect"})
        await task
        assert cancelled
        assert exchange.sent == []
        assert exchange.uploads.buffered == exchange.uploads.requests == 0
        halfway = Exchange(work)
        halfway.incoming.put_nowait({"type": "http.request", "body": b"abc", "more_body": True})
        halfway.incoming.put_nowait({"type": "http.disconnect"})
        await halfway.run()
        assert halfway.uploads.buffered == halfway.uploads.requests == 0

    asyncio.run(main())


def test_a_full_gate_refuses_a_request_before_its_body_is_read() -> None:
    async def fine(scope: Any, receive: Any, send: Any) -> None:
        await json_response({})(scope, receive, send)

    async def main() -> None:
        exchange, go = Exchange(fine), threading.Event()
        task = asyncio.ensure_future(exchange.gate.run(lambda _: go.wait(10)))
        await asyncio.sleep(0.01)
        await exchange.run()  # nothing was sent: reading would wait for ever
        assert exchange.status == 503
        assert (b"retry-after", b"1") in [(key.lower(), value) for key, value in exchange.sent[0]["headers"]]
        go.set()
        await task

    asyncio.run(main())


def test_the_service_answers_503_with_retry_after_when_it_is_full(make, coffee) -> None:
    call = make(slots=1, queue=0)
    requests = [("POST", "/v1/embeddings", {"files": {"photo": coffee.read_bytes()}})] * 6
    answers = call.together(*requests)
    codes = [answer.status_code for answer in answers]
    assert codes.count(201) >= 1
    assert codes.count(503) >= 1
    assert set(codes) == {201, 503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 503)
    assert call.embed(coffee)


def test_a_whole_answer_counts_as_answered_while_the_application_still_tidies_up() -> None:
    tidied = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        await asyncio.sleep(0.05)
        tidied.append(True)

    async def main() -> None:
        exchange = Exchange(answer)
        exchange.incoming.put_nowait({"type": "http.request", "body": b""})
        exchange.incoming.put_nowait({"type": "http.disconnect"})  # as uvicorn says after a whole answer
        await exchange.run()
        assert tidied
        assert 'status="200"' in exchange.guard._metrics.text({})

    asyncio.run(main())
