"""One value of a Secret that a team let the operator read: it may read none by itself."""

from __future__ import annotations

import base64
import binascii

from modelrollout.kube.client import SECRETS, Kube, KubeError, NotFound

__all__ = ["SecretError", "read_secret"]


class SecretError(Exception):
    """There is no such value (for the operator); the text holds no secret."""

    def __init__(self, message: str, *, settings: bool = True) -> None:
        super().__init__(message)
        self.settings = settings
        """A person must change something; the text says what."""


async def read_secret(kube: Kube, namespace: str, name: str, key: str) -> str:
    """The value, read with the right that the namespace's own Role gives, or not at all.

    Raises
    ------
    SecretError
    """
    try:
        found = await kube.get(SECRETS.path(namespace, name))
        return base64.b64decode((found.get("data") or {})[key], validate=True).decode().strip()
    except NotFound as error:
        raise SecretError(f"there is no Secret {name} in namespace {namespace}") from error
    except (KeyError, binascii.Error, UnicodeDecodeError):
        raise SecretError(f"Secret {name} has no text under the key {key}") from None
    except KubeError as error:
        if error.status == 403:
            raise SecretError(_allow(namespace, name)) from error
        raise SecretError(f"Secret {name} cannot be read: {error}", settings=False) from error


def _allow(namespace: str, secret: str) -> str:
    """What to type, because the operator itself may read no Secret at all."""
    role = f"kubectl create role modelrollout-{secret} -n {namespace} --verb=get --resource=secrets"
    who = "--serviceaccount=modelrollout-system:modelrollout"
    return (
        f"the operator may not read Secret {secret}; allow that one: {role} --resource-name={secret} && "
        f"kubectl create rolebinding modelrollout-{secret} -n {namespace} --role=modelrollout-{secret} {who}"
    )
