"""Where a tenant's own address may lead: only to hosts that whoever runs the operator has named.

Otherwise a rollout's author could make the operator, with its place in the network, call anything. It is the name that
is compared, on any port. Where a name leads is for whoever answers for it in DNS to say, so a glob is worth as much as
the zone that it names.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

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
        parts = urlsplit(url)
        scheme, host = parts.scheme, (parts.hostname or "").lower()
    except ValueError:
        scheme, host = "", ""
    odd = "%" in host or any(sign.isspace() or sign == "\\" for sign in url)
    if scheme not in ("http", "https") or not host or odd:
        raise DeliveryError("the Secret's value is no address: it must be one URL, https://…", settings=True)
    for glob in globs:
        plain = glob.startswith("http://")
        if fnmatchcase(host, glob.removeprefix("http://").removeprefix("https://").lower()):
            if scheme == "https" or plain:
                return url
            text = f"the address of {host} begins with http://: use https://, or let whoever runs the operator allow it"
            raise DeliveryError(f"{text} (--notify-hosts http://{host})", settings=True)
    allowed = ", ".join(globs) or "none"
    text = f"host {host} is not among those that rollouts' own notifications may call ({allowed})"
    raise DeliveryError(f"{text}: ask whoever runs the operator for --notify-hosts {host}", settings=True)
