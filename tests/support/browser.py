"""A real browser for the tests of the web page: Debian's Chromium, with everything off that would phone home."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["CHROMIUM", "FLAGS"]

CHROMIUM: Final = Path("/usr/bin/chromium")
FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-domain-reliability",
    "--disable-quic",
    "--no-first-run",
    "--no-pings",
]
