"""Keys and tokens for one cluster: made afresh at every start, kept on its tmpfs only."""

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path

ADMIN = "localcluster:admin"
CONTROLLERS = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
NODE = "localcluster:node"
CONTOUR = "localcluster:contour"
PROMETHEUS = "localcluster:prometheus"
# One user per program, so that an audit log tells who asked for what. They all are administrators: the
# cluster has no secrets from itself; the roles of real installations are tried with ServiceAccounts.
_USERS = (ADMIN, CONTROLLERS, SCHEDULER, NODE, CONTOUR, PROMETHEUS)

# People with a token and no rights but those that somebody binds to them.
PEOPLE = ("ann", "bob", "cleo", "dan")

# The DER of an EC private key on P-256 around its 32 secret bytes; the public half may be left out.
_EC_KEY_PREFIX = bytes.fromhex("30310201010420")
_EC_KEY_SUFFIX = bytes.fromhex("a00a06082a8648ce3d030107")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True)
class Credentials:
    """The static tokens by user, and the files the API server reads."""

    tokens: dict[str, str]
    token_file: Path
    signing_key_file: Path


def create(folder: Path) -> Credentials:
    """Make tokens for every program and person, and the key that signs ServiceAccount tokens."""
    tokens = {user: secrets.token_urlsafe(24) for user in (*_USERS, *PEOPLE)}
    lines = [f'{tokens[user]},{user},{user},"system:masters"\n' for user in _USERS]
    lines += [f"{tokens[user]},{user},{user}\n" for user in PEOPLE]
    token_file = folder / "tokens.csv"
    token_file.write_text("".join(lines), encoding="ascii")
    key_file = folder / "service-account.key"
    key_file.write_text(_private_key(), encoding="ascii")
    return Credentials(tokens=tokens, token_file=token_file, signing_key_file=key_file)


def _private_key() -> str:
    """A fresh P-256 key in PEM; made here because neither OpenSSL nor a crypto library must be installed."""
    secret = secrets.randbelow(_P256_ORDER - 1) + 1
    der = _EC_KEY_PREFIX + secret.to_bytes(32, "big") + _EC_KEY_SUFFIX
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN EC PRIVATE KEY-----\n{body}-----END EC PRIVATE KEY-----\n"
