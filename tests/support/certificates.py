"""A certificate authority of a test's own, and what it signs, by the openssl program."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Pair", "authority", "signed"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def authority(folder: Path, name: str = "ca") -> Pair:
    """A certificate authority."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl(*new, *subject, "-keyout", str(pair.key), "-out", str(pair.cert))
    return pair


def signed(folder: Path, by: Pair, name: str, *also: str) -> Pair:
    """A certificate for a name, and other names (``IP:127.0.0.1``)."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    request = folder / f"{name}.csr"
    new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"]
    names = ",".join([f"DNS:{name}", *also])
    _openssl(*new, "-addext", f"subjectAltName={names}", "-keyout", str(pair.key), "-out", str(request))
    sign = ["x509", "-req", "-in", str(request), "-CA", str(by.cert), "-CAkey", str(by.key), "-days", "2"]
    _openssl(*sign, "-copy_extensions", "copy", "-out", str(pair.cert))
    return pair
