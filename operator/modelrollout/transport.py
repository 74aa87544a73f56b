"""A broken connection in a few words, the same for the API server and for Prometheus."""

from __future__ import annotations

import aiohttp

__all__ = ["words"]


def words(error: BaseException) -> str:
    """What a transport's error says to people; aiohttp's own texts name sockets and ssl contexts."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return (error.os_error.strerror or str(error.os_error)).lower()
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
