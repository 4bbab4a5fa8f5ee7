"""The event loop on which an engine runs asynchronous bodies."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from ferroflow import _core
from ferroflow.engine.blocking import LOOP
from ferroflow.engine.bodies import pack
from ferroflow.engine.middleware import StepHooks
from ferroflow.engine.outcomes import Failed, Outcome, failure

if TYPE_CHECKING:
    import asyncio

    from ferroflow.engine.bodies import Bodies

# Seconds in which what asynchronous bodies left open has to be closed.
_CLOSING = 5


class Loop:
    """Runs asynchronous bodies on an event loop of its own."""

    def __init__(self, core: _core.Engine, bodies: Bodies) -> None:
        self._core = core
        self._bodies = bodies
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[int, asyncio.Task[Outcome]] = {}

    def serve(self) -> None:
        """Hand bodies to the loop until the engine stops."""
        import asyncio

        loop = asyncio.new_event_loop()
        self._loop = loop
        thread = threading.Thread(target=loop.run_forever, name=LOOP, daemon=True)
        thread.start()
        try:
            self._core.work(_core.LOOP, self._submit, self._cancel)
        finally:
            asyncio.run_coroutine_threadsafe(self._drain(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _submit(self, job: _core.Job, name: str, arguments: bytes) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._begin, job, name, arguments)

    def _begin(self, job: _core.Job, name: str, arguments: bytes) -> None:
        assert self._loop is not None
        run = self._surrounded if self._bodies.middleware else self._run
        body: Coroutine[Any, Any, Outcome] = run(job, name, arguments)
        running = self._running[job.token] = self._loop.create_task(body)
        running.add_done_callback(partial(self._ended, job))

    async def _run(self, job: _core.Job, name: str, arguments: bytes) -> Outcome:
        from asyncio import CancelledError

        try:
            return pack(self._bodies.codec, await self._bodies.bound(job, name, arguments)())
        except CancelledError:
            raise
        except BaseException as error:
            return failure(error)

    async def _surrounded(self, job: _core.Job, name: str, arguments: bytes) -> Outcome:
        from asyncio import CancelledError

        hooks = StepHooks(self._bodies.middleware, self._bodies.context(job, arguments))
        refused = hooks.before()
        if refused is not None:
            return hooks.after(refused)
        try:
            outcome = await self._run(job, name, arguments)
        except CancelledError:
            hooks.after(_CANCELLED)
            raise
        return hooks.after(outcome)

    def _ended(self, job: _core.Job, task: asyncio.Task[Outcome]) -> None:
        del self._running[job.token]
        if task.cancelled():
            # One that is cancelled before its first step never gets to say so itself.
            job.finish(_CANCELLED)
        else:
            error = task.exception()
            job.finish(task.result() if error is None else failure(error))

    def _cancel(self, tokens: list[int]) -> None:
        assert self._loop is not None
        for token in tokens:
            self._loop.call_soon_threadsafe(self._stop, token)

    def _stop(self, token: int) -> None:
        if task := self._running.get(token):
            task.cancel()

    def here(self) -> bool:
        """Whether this is the thread of the event loop."""
        import asyncio

        return self._loop is not None and asyncio.get_running_loop() is self._loop

    def abandon(self) -> None:
        """Cancel bodies that still run."""
        if self._loop is not None:
            for token in [*self._running]:
                self._loop.call_soon_threadsafe(self._stop, token)

    async def _drain(self) -> None:
        import asyncio

        while self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
        # What bodies share and keep open, such as the client of `http`, is closed like this.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await asyncio.get_running_loop().shutdown_asyncgens()


_CANCELLED: Failed = ("CANCELLED", "the attempt was cancelled", "", False)
