"""The outermost layer: lets requests in, bounds their bodies and time, and stops their work if the client goes."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mobilesam.serve.limits import Gate, Uploads
from mobilesam.serve.metrics import Metrics
from mobilesam.serve.problems import Problem, as_problem, problem_response
from mobilesam.serve.security import Doorman
from mobilesam.serve.settings import ServeSettings

log = logging.getLogger("mobilesam.serve")


class ClientGone(Exception):  # noqa: N818 - it is no error
    """The client closed the connection before its request was complete."""


class Guard:
    """ASGI middleware around the whole application.

    A body is received as a whole, within its limits, before the application sees the request. From then on the only
    message that can come is that the client went away, which cancels the application's task.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, gate: Gate, uploads: Uploads, metrics: Metrics) -> None:
        self._app, self._settings = app, settings
        self._gate, self._uploads, self._metrics = gate, uploads, metrics
        self._doorman = Doorman(settings)
        self.service: Any = None
        """Set by `create_app`, for tests and tools that hold the application."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
        else:
            await send({"type": "websocket.close", "code": 1000})


class _Exchange:
    """One request and its answer."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self._guard, self._scope, self._receive, self._send = guard, scope, receive, send
        self._headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        self._method = scope["method"]
        self._status = 0
        self._is_answered = False
        self._held = 0  # bytes of the body
        self._start = time.perf_counter()

    async def run(self) -> None:
        """Answer the request, count it and log it."""
        uploads = self._guard._uploads
        has_entered = False
        try:
            self._guard._doorman.check(
                self._method, self._scope["path"], self._headers, self._scope.get("scheme", "http")
            )
            if self._method == "OPTIONS" and "access-control-request-method" in self._headers:
                await self._preflight()
                return
            uploads.enter()
            has_entered = True
            await self._answer()
        except ClientGone:
            self._status = 499
        except Exception as error:
            await self._fail(error)
        finally:
            if has_entered:
                uploads.leave(self._held)
            self._account()

    async def _answer(self) -> None:
        """Receive the body, then run the application, within the deadline."""
        has_deadline = self._method not in ("GET", "HEAD")
        if has_deadline:
            self._guard._gate.check()  # the body need not be sent at all
        limit = self._guard._settings.deadline if has_deadline else None
        try:
            async with _Timeout(limit):
                body = await self._body()
                await self._run_app(body)
        except (TimeoutError, asyncio.TimeoutError):  # two classes in Python 3.10
            raise Problem(504, f"not finished within {limit:g} s; ask for less, or later") from None

    async def _body(self) -> bytes:
        limit = self._guard._settings.max_bytes
        too_large = Problem(413, f"the body has more than {limit} bytes", {"Connection": "close"})
        length = self._headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > limit:
            raise too_large
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            self._guard._uploads.take(len(part))
            self._held += len(part)
            if self._held > limit:
                raise too_large
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def _run_app(self, body: bytes) -> None:
        """Run the application until it has answered or the client has gone."""
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        gone = asyncio.Event()

        async def receive() -> Message:
            if pending:
                return pending.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        work = asyncio.ensure_future(self._guard._app(self._scope, receive, self._tell))
        watch = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            # After a whole answer the server says "disconnect" too, while the application may still close its file.
            if not work.done() and not self._is_answered:
                raise ClientGone
            await work
        finally:
            gone.set()
            for task in (work, watch):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _watch(self) -> None:
        """Wait until the client goes away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _tell(self, message: Message) -> None:
        """Send a message of the application, with the security headers."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            own = {key.lower() for key, _ in message.get("headers", [])}
            more = [(k.lower().encode(), v.encode("latin-1")) for k, v in self._extra().items()]
            headers = [*message.get("headers", []), *(pair for pair in more if pair[0] not in own)]
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self._is_answered = True
        await self._send(message)

    def _extra(self) -> dict[str, str]:
        extra = dict(self._guard._doorman.headers(self._headers))
        if not self._scope["path"].startswith("/v1/"):
            return extra
        return {**extra, "Cache-Control": "no-store"}

    async def _preflight(self) -> None:
        headers = [(k.lower().encode(), v.encode()) for k, v in self._guard._doorman.preflight().items()]
        await self._tell({"type": "http.response.start", "status": 204, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})

    async def _fail(self, error: Exception) -> None:
        """Answer with a problem, unless an answer has already begun."""
        problem = as_problem(error)
        if problem.status == 500:
            log.error("%s %s failed", self._method, self._route(), exc_info=error)
        if self._status:
            return
        with suppress(Exception):  # the client may be gone
            await problem_response(problem)(self._scope, self._receive, self._tell)

    def _route(self) -> str:
        """The route's template; what a client wrote never reaches a log or a label."""
        return getattr(self._scope.get("route"), "path", None) or "other"

    def _account(self) -> None:
        seconds = time.perf_counter() - self._start
        known = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
        method = self._method if self._method in known else "other"
        self._guard._metrics.observe(self._route(), method, self._status, seconds)
        log.info("%s %s %d %.0f ms", method, self._route(), self._status, 1000 * seconds)


class _Timeout:
    """`asyncio.timeout` of Python 3.11, for 3.10: cancels the task and turns that into TimeoutError."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds, self._expired = seconds, False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None

        def expire() -> None:
            self._expired = True
            task.cancel()

        loop = asyncio.get_running_loop()
        self._timer = None if self._seconds is None else loop.call_later(self._seconds, expire)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._expired and kind is asyncio.CancelledError:
            uncancel = getattr(asyncio.current_task(), "uncancel", None)  # from Python 3.11 on
            if uncancel is not None:
                uncancel()
            raise asyncio.TimeoutError
