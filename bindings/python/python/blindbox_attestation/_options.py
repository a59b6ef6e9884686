"""Options of requests, for type checkers: `Session.request` describes them."""

from __future__ import annotations

from typing import Any, TypedDict

from ._body import AsyncContent, Content, HeaderInput, Pairs


class _Options(TypedDict, total=False):
    params: Pairs | None
    headers: HeaderInput | None
    json: Any
    form: Pairs | None
    timeout: float | None
    idempotent: bool


class RequestOptions(_Options, total=False):
    """Options of a request of a `Session`."""

    content: Content | None


class AsyncRequestOptions(_Options, total=False):
    """Options of a request of an `AsyncSession`."""

    content: AsyncContent | None
