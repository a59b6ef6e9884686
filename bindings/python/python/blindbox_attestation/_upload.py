"""Request bodies that a task of asyncio writes while they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, AsyncIterable, AsyncIterator, Callable

from . import _native
from ._body import Source, as_bytes, split
from ._errors import AttestationError

# Half of the time of importing this package, for programs that may not use it: imported where a task runs, which has it.
if TYPE_CHECKING:
    import asyncio


async def started(start: Callable[..., _native.Cancel], *arguments: Any) -> Any:
    """Wait for work on the threads of the core. Cancelling the task ends the work, and so does closing the coroutine."""
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def finish(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def done(value: Any, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(finish, value, error)
        except RuntimeError:
            # The loop was closed before the work ended: no task waits for it.
            pass

    work = start(*arguments, done)
    try:
        return await future
    except BaseException:
        # Neither has an effect where it is the work that failed.
        future.cancel()
        work.cancel()
        raise


class Upload:
    """Writes a body while it is sent."""

    __slots__ = ("taken", "_native", "_source", "_pieces", "_task", "_failure")

    def __init__(self, source: Source | AsyncIterable[bytes], length: int | None) -> None:
        self._source = source if isinstance(source, Source) else None
        self._pieces: AsyncIterator[Any] | None = None if isinstance(source, Source) else source.__aiter__()
        self._native = _native.Upload(self._source.length if self._source is not None else length)
        #: How many pieces the request has taken.
        self.taken = 0
        self._failure: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    async def send(self, start: Callable[..., _native.Cancel], *request: Any) -> _native.Response:
        """Send a request with this body. The error of a source that fails is raised as it is."""
        import asyncio

        self._task = asyncio.ensure_future(self._run())
        try:
            sent: _native.Response = await started(start, *request)
        except BaseException as error:
            self.stop()
            self.check(error)
            raise
        return sent

    def check(self, error: BaseException) -> None:
        """Raise the error of the source, if it is why a request or its response failed."""
        if self._failure is not None and isinstance(error, AttestationError):
            raise self._failure from error

    def stop(self) -> None:
        """Give up the rest of the body."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        import asyncio

        try:
            # Nothing is read before the request has a connection.
            wants = await started(self._native.ready_start)
            while wants:
                piece = await self._next()
                if piece is None:
                    self._native.finish()
                    return
                wants = await started(self._native.write_start, piece)
                self.taken += 1
        except asyncio.CancelledError:
            self._native.fail("it was given up")
            raise
        except Exception as error:
            self._failure = error
            self._native.fail(f"its source raised {type(error).__name__}")
        finally:
            # A generator that waits at a `yield` ends here, and not when it is collected.
            close = getattr(self._pieces, "aclose", None)
            if close is not None:
                await close()

    async def _next(self) -> bytes | None:
        if self._pieces is not None:
            try:
                return as_bytes(await self._pieces.__anext__())
            except StopAsyncIteration:
                return None
        assert self._source is not None
        if self._source.is_file:
            import asyncio

            return await asyncio.get_running_loop().run_in_executor(None, self._source.next)
        return self._source.next()


def prepared(content: Any, length: int | None = None) -> tuple[bytes | None, Upload | None]:
    """Return a body as bytes in memory, or as an upload."""
    if isinstance(content, AsyncIterable):
        return None, Upload(content, length)
    whole, source = split(content, length)
    return whole, None if source is None else Upload(source, None)


async def sent(
    start: Callable[..., _native.Cancel],
    method: str,
    target: str,
    headers: list[tuple[str, bytes]],
    whole: bytes | None,
    upload: Upload | None,
    timeout: float | None,
    idempotent: bool,
) -> _native.Response:
    """Send a request."""
    if upload is None:
        response: _native.Response = await started(start, method, target, headers, whole, None, timeout, idempotent)
        return response
    return await upload.send(start, method, target, headers, None, upload._native, timeout, idempotent)
