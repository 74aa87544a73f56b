"""A revision's HorizontalPodAutoscaler. It belongs to the Deployment that it scales, so it goes and stays with it."""

from __future__ import annotations

from typing import Any

from modelrollout.api.meta import ANNOTATION_AUTOSCALED_BY, LABEL_NAME, LABEL_REVISION
from modelrollout.api.rollout import Autoscaling
from modelrollout.engine.autoscaling import metrics_of
from modelrollout.engine.model import Autoscaler

__all__ = ["build_autoscaler", "view_of"]

Body = dict[str, Any]


def build_autoscaler(deployment: Body, auto: Autoscaling, wanted: Autoscaler) -> Body:
    """The autoscaler of a Deployment, as autoscaling/v2 has it."""
    metadata = deployment["metadata"]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {
                "app.kubernetes.io/managed-by": "modelrollout",
                **{name: metadata["labels"][name] for name in (LABEL_NAME, LABEL_REVISION)},
            },
            "annotations": {ANNOTATION_AUTOSCALED_BY: wanted.target},
            "ownerReferences": [reference | {"uid": metadata["uid"]}],
        },
        "spec": {
            "scaleTargetRef": reference,
            "minReplicas": wanted.floor,
            "maxReplicas": wanted.ceiling,
            "metrics": metrics_of(auto),
        },
    }


def view_of(body: Body) -> Autoscaler:
    """An autoscaler as it stands."""
    spec, annotations = body["spec"], body["metadata"].get("annotations") or {}
    return Autoscaler(
        floor=int(spec.get("minReplicas") or 1),
        ceiling=int(spec["maxReplicas"]),
        target=str(annotations.get(ANNOTATION_AUTOSCALED_BY, "")),
    )
