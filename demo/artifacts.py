"""Files that training writes and the server and the users read: plain arrays, addressed by ``file://`` URIs.

They are read without pickle: a model file that can run code when it is opened is no artifact to release.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "load", "path_of", "save"]

Array = npt.NDArray[np.float64]


def path_of(uri: str) -> Path:
    """The path that a ``file://`` URI names.

    Raises
    ------
    ValueError
        If the URI is of another kind: the demo's server reads files only.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc:
        raise ValueError(f'cannot read "{uri}": the demo\'s artifacts are addressed as file:///path')
    return Path(unquote(parts.path))


def save(path: Path, **arrays: npt.NDArray[np.generic]) -> str:
    """Write named arrays all at once and return the file's URI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez_compressed(draft, allow_pickle=False, **arrays)
    draft.replace(path)
    return path.absolute().as_uri()


def load(uri: str) -> dict[str, Array]:
    """Read named arrays."""
    with np.load(path_of(uri), allow_pickle=False) as file:
        return {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
