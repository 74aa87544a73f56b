"""A broken connection in a few words, the same for the API server and for Prometheus."""

from __future__ import annotations

import os

import aiohttp

__all__ = ["words"]


def words(error: BaseException) -> str:
    """What a transport's error says to people; aiohttp's own texts name sockets and ssl contexts."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number).lower() if number else str(error.os_error)
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
