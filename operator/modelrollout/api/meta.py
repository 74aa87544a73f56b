"""Names that the whole project shares: API group, labels, annotations, and the base of every resource model.

They stand in one place because they are a contract with objects already in people's clusters: a label that is spelled
differently in two modules would orphan a serving model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

__all__ = [
    "ANNOTATION_APPLIED",
    "ANNOTATION_AUTHOR",
    "ANNOTATION_AUTOSCALED_BY",
    "ANNOTATION_OWNER_UID",
    "ANNOTATION_PROMOTED_AT",
    "ANNOTATION_RETIRED_AT",
    "ANNOTATION_VERSION",
    "EXTERNAL",
    "FIELD_MANAGER",
    "FINALIZER",
    "GROUP",
    "LABEL_FREEZE",
    "LABEL_NAME",
    "LABEL_REVISION",
    "LABEL_ROLE",
    "SERVICE_PORT",
    "VERSION",
    "ApiModel",
    "rule",
]

GROUP: Final = "modelrollout.io"
VERSION: Final = "v1alpha1"
FIELD_MANAGER: Final = "modelrollout"
FINALIZER: Final = f"{GROUP}/traffic"

LABEL_NAME: Final = f"{GROUP}/name"
LABEL_REVISION: Final = f"{GROUP}/revision"
LABEL_ROLE: Final = f"{GROUP}/role"
LABEL_FREEZE: Final = f"{GROUP}/freeze"

EXTERNAL: Final = "external"
"""The revision that `spec.adopt` names: not one of ours, so it has no hash. No hash reads like this."""

SERVICE_PORT: Final = 80
"""Port of every revision's Service, whatever runs it; it leads to the container's port."""

ANNOTATION_AUTOSCALED_BY: Final = f"{GROUP}/autoscaled-by"
ANNOTATION_APPLIED: Final = f"{GROUP}/applied"
ANNOTATION_AUTHOR: Final = f"{GROUP}/author"
ANNOTATION_OWNER_UID: Final = f"{GROUP}/owner-uid"
ANNOTATION_PROMOTED_AT: Final = f"{GROUP}/promoted-at"
ANNOTATION_RETIRED_AT: Final = f"{GROUP}/retired-at"
ANNOTATION_VERSION: Final = f"{GROUP}/version"


class ApiModel(BaseModel):
    """Base of every model of a custom resource.

    Unknown fields are ignored on reading, because an older operator must be able to read objects written for a newer
    CRD; catching typos is the API server's work (strict field validation) and the linter's.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        extra="ignore",
        frozen=True,
    )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's own, which knows of private and extra fields too and takes five times as long: the engine
        makes dozens of copies at every look."""
        if deep:
            return super().model_copy(update=update, deep=True)
        copied = self.__class__.__new__(self.__class__)
        object.__setattr__(copied, "__dict__", {**self.__dict__, **(update or {})})
        object.__setattr__(copied, "__pydantic_fields_set__", self.__pydantic_fields_set__ | (update or {}).keys())
        object.__setattr__(copied, "__pydantic_extra__", None)
        object.__setattr__(copied, "__pydantic_private__", None)
        return copied


def rule(expression: str, message: str, *, field_path: str | None = None) -> dict[str, Any]:
    """One CEL validation for a CRD schema.

    ``message`` must name the remedy; for strings the API server itself puts the field and the refused value before it.

    Source: Kubernetes API conventions, "Validation rules" of CustomResourceDefinitions.
    """
    found: dict[str, Any] = {"rule": expression, "message": message}
    if field_path is not None:
        found["fieldPath"] = field_path
    return found
