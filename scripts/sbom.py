"""What is in the operator's image, as a CycloneDX bill of materials: ``python scripts/sbom.py FILE``.

The packages are those of ``requirements-operator.lock`` that the image's Python takes, with the hashes that pip checks;
the base image is that of the Dockerfile, by its digest. The same input gives the same bytes.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

__all__ = ["base_image", "bill", "taken"]

_ROOT: Final = Path(__file__).resolve().parents[1]
_IMAGE: Final = {
    "python_version": "3.11",
    "python_full_version": "3.11.2",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}
"""The environment markers of the image's Python. Source: PEP 508."""


def taken(lock: str) -> str:
    """The part of a lock file that the image takes: entries whose marker holds there."""
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock)
    kept = []
    for entry in entries:
        first = entry.split("\\", 1)[0].strip()
        if first and not first.startswith("#"):
            marker = Requirement(first).marker
            if marker is None or marker.evaluate(_IMAGE):
                kept.append(entry)
    return "".join(kept)


def base_image(dockerfile: str) -> tuple[str, str]:
    """The image that the operator's stage is built on, and its digest."""
    found = re.search(r"^FROM (\S+?)@sha256:([0-9a-f]{64}) AS operator$", dockerfile, re.M)
    if found is None:
        raise ValueError("Dockerfile: the stage operator must be FROM an image with @sha256:…")
    return found[1], found[2]


def bill() -> dict[str, Any]:
    """The bill of materials."""
    lock = taken((_ROOT / "requirements-operator.lock").read_text(encoding="utf-8"))
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", "-", "--output-reproducible"]
    command += ["--pyproject", str(_ROOT / "pyproject.toml"), "--mc-type", "application", "--sv", "1.6"]
    made = subprocess.run(command, input=lock, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(made.stdout)
    for one in found["components"]:
        one.pop("description", None)  # the line of the lock once more
    name, digest = base_image((_ROOT / "Dockerfile").read_text(encoding="utf-8"))
    base = {"type": "container", "bom-ref": "base-image", "name": name, "version": f"sha256:{digest}"}
    found["components"].append(base | {"hashes": [{"alg": "SHA-256", "content": digest}]})
    return found


def main() -> None:
    """Write it."""
    file = Path(sys.argv[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(bill(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{file}: {len(json.loads(file.read_text(encoding='utf-8'))['components'])} components")


if __name__ == "__main__":
    main()
