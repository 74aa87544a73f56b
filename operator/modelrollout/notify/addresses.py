"""Which addresses rollouts' own notifications may call."""

from __future__ import annotations

from typing import Final

from modelrollout.addresses import AddressError, allowed
from modelrollout.notify.base import DeliveryError

__all__ = ["HOST_GLOBS_HELP", "checked"]

HOST_GLOBS_HELP: Final = (
    "Host that rollouts' own notifications may call, like hooks.slack.com or *.example.com; http://HOST allows it "
    "without TLS. Give it several times, or separated by commas.  [default: none]"
)


def checked(url: str, globs: tuple[str, ...]) -> str:
    """The address, if it may be called.

    Raises
    ------
    DeliveryError
        If not; the text names the host at most, because the rest of an address is a secret.
    """
    try:
        return allowed(url, globs, flag="--notify-hosts", what="rollouts' own notifications")
    except AddressError as error:
        text = str(error)
        raise DeliveryError(f"the Secret's value {text}" if text.startswith("is ") else text, settings=True) from error
