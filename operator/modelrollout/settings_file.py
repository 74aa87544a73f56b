"""Files that whoever runs the operator writes (receivers, sources of metrics): read whole, or refused with field and
remedy, and never quoted, because somebody may have written a secret where none belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

__all__ = ["ConfigError", "FileModel", "load"]


class ConfigError(Exception):
    """The file cannot be used; the text names the field and the remedy."""


class FileModel(BaseModel):
    """A part of such a file: camelCase, and nothing that is not understood."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


_Whole = TypeVar("_Whole", bound=FileModel)


def load(path: Path, whole: type[_Whole]) -> _Whole:
    """Read a file.

    Raises
    ------
    ConfigError
        If it cannot be read, or says what is not understood.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return whole.model_validate(raw if raw is not None else {})
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8") from error
    except yaml.YAMLError as error:  # in its own words it would quote the line
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise ConfigError(f"{path} is not YAML{where}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_said(one) for one in error.errors(include_input=False))) from error


def _said(error: Any) -> str:
    where = ""
    for part in error["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    return f"{where or 'the file'}: {str(error['msg']).removeprefix('Value error, ')}"
