"""A broken connection in a few words, the same for the API server and for Prometheus."""

from __future__ import annotations

import os
import socket

import aiohttp

__all__ = ["words"]


def words(error: BaseException) -> str:
    """What a transport's error says to people; aiohttp's own texts name sockets and ssl contexts."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        return f"its TLS certificate is not trusted ({why})"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        reason = getattr(error.os_error, "reason", None) or "no common protocol"
        return f"TLS fails ({str(reason).replace('_', ' ').lower()})"
    if isinstance(error, aiohttp.ClientConnectorError):
        return _system_words(error.os_error)
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__


def _system_words(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or not error.errno:  # the resolver's numbers are its own
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()
