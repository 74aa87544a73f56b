"""One line of progress for something long: live on a terminal, a line every 20 seconds elsewhere."""

import sys
import threading
import time

_LIVE_SECONDS = 0.5
_QUIET_SECONDS = 20.0


class Ticker:
    """Shows a name, a remark and the elapsed time until its block ends."""

    def __init__(self, name: str, expected: str = "") -> None:
        self._name = name
        self._remark = expected
        self._begun = time.monotonic()
        self._done = threading.Event()
        self._live = sys.stdout.isatty()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Ticker":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._done.set()
        self._thread.join()
        self._write("done" if kind is None else "stopped", end=True)

    def show(self, remark: str) -> None:
        """Change the remark; it is shown with the next tick."""
        self._remark = remark

    def _tick(self) -> None:
        while not self._done.wait(_LIVE_SECONDS if self._live else _QUIET_SECONDS):
            self._write(self._remark, end=False)

    def _write(self, remark: str, *, end: bool) -> None:
        elapsed = time.monotonic() - self._begun
        line = f"  {self._name:<24} {elapsed:6.0f} s  {remark}"
        if self._live:
            # Back to the start of the line, and clear what a longer remark left there.
            sys.stdout.write("\r\x1b[K" + line + ("\n" if end else ""))
        else:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
