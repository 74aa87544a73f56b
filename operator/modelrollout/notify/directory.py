"""Who is told of a notice: the operator's receivers, and those that the rollout itself names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from modelrollout.api.notifications import Notification
from modelrollout.api.objects import Rollout
from modelrollout.api.status import Notice
from modelrollout.kube.client import Kube
from modelrollout.kube.secrets import SecretError, read_secret
from modelrollout.notify.addresses import checked
from modelrollout.notify.base import DeliveryError, Message, Read, Receiver
from modelrollout.notify.config import Config, ReceiverConfig
from modelrollout.notify.http import Http
from modelrollout.notify.registry import ADDRESSED, of_operator

__all__ = ["Addressee", "Directory"]


@dataclass(frozen=True, slots=True)
class Addressee:
    """One receiver, under the name by which people know it."""

    line: str
    """What it shares its queue under: the same receiver for many rollouts is one."""
    label: str
    receiver: Receiver


class _Missing:
    """Takes the place of a receiver that a rollout names and that does not exist (for it)."""

    hears_the_end = True
    repeats_every: float | None = None

    def __init__(self, why: str) -> None:
        self._why = why

    async def send(self, message: Message) -> str:
        raise DeliveryError(self._why, settings=True)


class Directory:
    """See the module. ``guests``: the session for addresses that tenants give."""

    def __init__(self, config: Config, kube: Kube, http: Http, guests: Http, hosts: tuple[str, ...]) -> None:
        self._kube = kube
        self._guests = guests
        self._hosts = hosts
        self._config: Final = {one.name: one for one in config.receivers}
        self._ours: Final = {one.name: of_operator(http, one) for one in config.receivers}

    def addressees(self, rollout: Rollout, notice: Notice) -> list[Addressee]:
        """Everybody who is told, each once."""
        found = {one.line: one for one in self._all(rollout, notice)}
        return [one for one in found.values() if notice.over_at is None or one.receiver.hears_the_end]

    def _all(self, rollout: Rollout, notice: Notice) -> Iterator[Addressee]:
        words = {str(notice.urgency), str(notice.reason), str(notice.cause or "")}
        for name, config in self._config.items():
            if words & set(config.about) and _covers(config, rollout.namespace):
                yield Addressee(f"operator/{name}", name, self._ours[name])
        for entry in rollout.spec.notifications:
            if words & set(entry.about):
                yield self._named(rollout, entry)

    def _named(self, rollout: Rollout, entry: Notification) -> Addressee:
        own = entry.own()
        if own is not None:
            kind, where = own
            secret = where.secret_ref
            url = self._address(rollout.namespace, secret.name, secret.key)
            signing = getattr(where, "signing_key", None)
            key = None if signing is None else self._secret(rollout.namespace, secret.name, signing)
            line = f"{rollout.namespace}/{kind}/{secret.name}/{secret.key}/{signing or ''}"
            return Addressee(line, entry.name, ADDRESSED[kind](self._guests, url, key))
        name = entry.receiver or ""
        config = self._config.get(name)
        if config is None or not _covers(config, rollout.namespace):
            known = ", ".join(one.name for one in self._config.values() if _covers(one, rollout.namespace)) or "none"
            why = f"spec.notifications[{entry.name}].receiver: there is no receiver {name} here; there are: {known}"
            return Addressee(f"{rollout.namespace}/missing/{name}", entry.name, _Missing(why))
        return Addressee(f"operator/{name}", name, self._ours[name])

    def _address(self, namespace: str, name: str, key: str) -> Read:
        secret = self._secret(namespace, name, key)

        async def read() -> str:
            return checked(await secret(), self._hosts)

        return read

    def _secret(self, namespace: str, name: str, key: str) -> Read:
        """A value of a Secret, read with the right that the namespace's own Role gives, or not at all."""

        async def read() -> str:
            try:
                return await read_secret(self._kube, namespace, name, key)
            except SecretError as error:
                raise DeliveryError(str(error), settings=error.settings) from error

        return read


def _covers(config: ReceiverConfig, namespace: str) -> bool:
    return any(fnmatchcase(namespace, glob) for glob in config.namespaces)
