"""The header ``date`` of answers, as KurrentDB's web server sends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from email.utils import formatdate
from inspect import isasyncgenfunction
from typing import Any

import grpc
import grpc.aio

from workbench.embedded.recording.clock import TICKS_PER_SECOND

Context = Any
Handler = Any


class DateHeader(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types, and takes no interceptor of another class
    """Sends the header ``date`` with each answer: the store's time, to the second below (RFC 9110, 5.6.7).

    An answer that only refuses a call has none. (KurrentDB sends it there too, among the trailers.)

    Parameters
    ----------
    now
        Tells the time in 100 ns ticks since the Unix epoch.
    is_on
        Asked before each answer.
    """

    def __init__(self, now: Callable[[], int], *, is_on: Callable[[], bool]) -> None:
        self._now = now
        self._is_on = is_on
        self._second = -1
        self._header = (("date", ""),)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]], handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None or not self._is_on():
            return handler
        codecs = (handler.request_deserializer, handler.response_serializer)
        if handler.request_streaming and handler.response_streaming:
            if isasyncgenfunction(handler.stream_stream):
                return grpc.stream_stream_rpc_method_handler(self._many(handler.stream_stream), *codecs)
            return grpc.stream_stream_rpc_method_handler(self._conversation(handler.stream_stream), *codecs)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._many(handler.unary_stream), *codecs)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(self._one(handler.stream_unary), *codecs)
        return grpc.unary_unary_rpc_method_handler(self._one(handler.unary_unary), *codecs)

    def _one(self, answer: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        async def dated(request: Any, context: Context) -> Any:
            message = await answer(request, context)
            await self._send(context)
            return message

        return dated

    def _many(self, answers: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Awaitable[None]]:
        async def dated(request: Any, context: Context) -> None:
            write = context.write  # a generator around the handler's would cost more for each message
            async with aclosing(answers(request, context)) as messages:
                async for message in messages:
                    await self._send(context)
                    await write(message)
                    break
                else:
                    await self._send(context)
                async for message in messages:
                    await write(message)

        return dated

    def _conversation(self, converse: Callable[[Any, Context], Awaitable[None]]) -> Callable[[Any, Context], Awaitable[None]]:
        async def dated(requests: Any, context: Context) -> None:
            # The handler writes when it likes, so the headers go ahead of all it may write.
            await self._send(context)
            await converse(requests, context)

        return dated

    async def _send(self, context: Context) -> None:
        second = self._now() // TICKS_PER_SECOND
        if second != self._second:
            self._second = second
            self._header = (("date", formatdate(second, usegmt=True)),)
        await context.send_initial_metadata(self._header)
