"""The ModelRollout for a service that runs, as an object and as YAML that says why each line is as it is. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from modelrollout.api.meta import GROUP, VERSION
from modelrollout.starting.gates import Proposal, Said
from modelrollout.starting.serving import Serving, UnclearError
from modelrollout.starting.template import Body, as_written

__all__ = ["Draft", "draft", "to_yaml"]

_NAME: Final = re.compile("[a-z]([a-z0-9-]*[a-z0-9])?")
_LONGEST_NAME: Final = 40
_LONGEST_VERSION: Final = 128
_VERSION_LABELS: Final = ("app.kubernetes.io/version", "model-version", "model_version", "version")
_OURS: Final = {"MODEL_VERSION": "version", "MODEL_URI": "uri"}
_WIDTH: Final = 120


@dataclass(slots=True)
class Draft:
    """The manifest, what is to be said at its fields (by path below ``spec``), and what a person has to look at."""

    body: Body
    why: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, Sequence[Said]] = field(default_factory=dict)
    look_at: list[str] = field(default_factory=list)

    def say(self, path: str, text: str) -> None:
        """A comment at a field."""
        self.why.setdefault(path, []).append(text)


def draft(serving: Serving, proposal: Proposal, *, name: str, evidence: str) -> Draft:
    """The manifest that takes over what serves. ``evidence``: why there are these gates, or none.

    Raises
    ------
    UnclearError
        If the name cannot be a ModelRollout's.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UnclearError(
            f'"{name}" cannot be the name of a ModelRollout: small letters, digits and dashes, beginning with a '
            f"letter, at most {_LONGEST_NAME}",
            "give another one: --name NAME",
        )
    spec: Body = {}
    made = Draft(
        {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "ModelRollout",
            "metadata": {"name": name, "namespace": serving.namespace},
            "spec": spec,
        }
    )
    template = as_written(serving.deployment["spec"]["template"])
    spec["model"] = _model(made, template, serving)
    _adopt(made, serving)
    spec["workload"] = _workload(made, template, serving)
    _traffic(made, template, serving)
    _judge(made, proposal, evidence)
    return made


def _model(made: Draft, template: Body, serving: Serving) -> Body:
    """What serves now, by the first of: the variables of the container, a label of the pods, the image."""
    container = template["spec"]["containers"][serving.container]
    found: Body = {}
    for variable in list(container.get("env") or []):
        ours = _OURS.get(variable["name"])
        if ours and variable.get("value"):
            found[ours] = variable["value"]
            container["env"].remove(variable)
            made.say("model", f"From the variable {variable['name']} of the container: the operator sets it from here.")
    if "env" in container and not container["env"]:
        del container["env"]
    if "version" not in found:
        found["version"], why = _version(template, str(container["image"]))
        made.say("model", why)
    made.say(
        "model",
        "The same as now, so the first release shows that nothing changes. A new version is a change here, or of the "
        "image below.",
    )
    return {key: found[key] for key in ("version", "uri") if key in found}


def _version(template: Body, image: str) -> tuple[str, str]:
    labels = template.get("metadata", {}).get("labels", {})
    for label in _VERSION_LABELS:
        if labels.get(label):
            return str(labels[label]), f"From the pods' label {label}."
    name, _, digest = image.partition("@")
    tag = re.search(r":([^/:]+)$", name)
    if tag is not None:
        return tag.group(1)[:_LONGEST_VERSION], "From the image's tag."
    if digest:
        return digest.partition(":")[2][:12], "From the image's digest: give the name that people say."
    return "1", "Nothing tells the version: give the name that people say."


def _adopt(made: Draft, serving: Serving) -> None:
    spec = made.body["spec"]
    spec["adopt"] = {
        "service": serving.service["metadata"]["name"],
        "port": serving.port,
        "deployment": serving.name,
    }
    made.say(
        "adopt",
        "What serves now is the stable version, and goes on serving as it is. When a version of this ModelRollout has "
        "gone through all steps, the Deployment is scaled to zero, and up again by an undo.",
    )


def _autoscaling(limits: Body) -> Body:
    """The same bounds and targets; a lone target for CPU in the short form. 80 % of CPU is what autoscaling/v2 takes
    where none is said."""
    bounds: Body = {"min": max(int(limits.get("minReplicas", 1)), 1), "max": limits["maxReplicas"]}
    match limits.get("metrics") or []:
        case [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": int(target)}}}]:
            return bounds | {"cpu": target}
        case []:
            return bounds | {"cpu": 80}
        case metrics:
            return bounds | {"metrics": metrics}


def _workload(made: Draft, template: Body, serving: Serving) -> Body:
    replicas = max(int(serving.deployment["spec"].get("replicas", 1)), 1)
    found: Body = {"replicas": replicas, "template": template}
    if serving.autoscaler is not None:
        name, limits = serving.autoscaler["metadata"]["name"], serving.autoscaler["spec"]
        found = {"autoscaling": _autoscaling(limits), "template": template}
        made.say(
            "workload",
            f"Each version gets a HorizontalPodAutoscaler like {name}, which scales the Deployment now ({replicas} "
            "pods). While a rollout lasts, what serves keeps at least the pods that it had at the start.",
        )
        if limits.get("behavior"):
            made.look_at.append(f"workload.autoscaling: the behavior of {name} is not taken over")
    _put_first(made, template, serving)
    _leave_labels(made, template, serving)
    if "readinessProbe" not in template["spec"]["containers"][0]:
        found["allowWithoutReadinessProbe"] = True
        made.say(
            "workload",
            "No readinessProbe: traffic can reach a model that is still loading. Add one, and delete "
            "allowWithoutReadinessProbe.",
        )
        made.look_at.append("workload.template: the container has no readinessProbe")
    return found


def _put_first(made: Draft, template: Body, serving: Serving) -> None:
    """The first container is the one that serves."""
    containers = template["spec"]["containers"]
    if serving.container:
        containers.insert(0, containers.pop(serving.container))
        made.say("workload", f"Container {containers[0]['name']} serves, so it is the first one here.")


def _leave_labels(made: Draft, template: Body, serving: Serving) -> None:
    """The adopted Service must not select the new pods, or they would get its traffic without any step."""
    labels = template.get("metadata", {}).get("labels", {})
    selector = serving.service["spec"]["selector"]
    left = {key: labels.pop(key) for key in selector if key in labels}
    shown = ", ".join(f"{key}: {value}" for key, value in left.items())
    made.say(
        "workload",
        f"The pods' labels without {shown}: Service {serving.service['metadata']['name']} selects by that, and would "
        f"send its traffic to new pods before any step. They carry {GROUP}/name and {GROUP}/revision: monitors, "
        "network policies and affinities must select by these too.",
    )
    made.look_at.append(f"monitors, policies and affinities that select pods by {shown} do not see the new pods")
    if not labels:
        template.get("metadata", {}).pop("labels", None)
        if not template.get("metadata", True):
            del template["metadata"]


def _traffic(made: Draft, template: Body, serving: Serving) -> None:
    route: Body = {"name": serving.route["metadata"]["name"]}
    if serving.rule:
        route["rule"] = serving.rule
    route["backend"] = serving.backend["name"]
    traffic: Body = {"gatewayAPI": {"route": route}}
    ports = [port for one in template["spec"]["containers"] for port in one.get("ports") or []]
    if len(ports) != 1:
        traffic = {"port": serving.container_port} | traffic
    made.body["spec"]["traffic"] = traffic
    made.say(
        "traffic",
        "The backend in the rule of your HTTPRoute, whose weight the versions share; nothing else of the route is "
        "touched.",
    )
    weight = int(serving.backend.get("weight", 1))
    if serving.others and (weight < 100 or weight % 100):
        said = f"the backend has weight {weight} beside others: make it a multiple of 100 and scale the others alike"
        made.say("traffic", f"First: {said}.")
        made.look_at.append(f"HTTPRoute {route['name']}: {said}")
    for other in serving.elsewhere:
        made.say("traffic", f"HTTPRoute {other} leads to the Service too: its users stay with it.")
        made.look_at.append(f"HTTPRoute {other} leads to the Service too, and takes no part")


def _judge(made: Draft, proposal: Proposal, evidence: str) -> None:
    spec = made.body["spec"]
    spec["steps"] = [said.entry for said in proposal.steps]
    made.lists["steps"] = proposal.steps
    if proposal.holdback:
        spec["baselineHoldback"] = 1
        made.say("baselineHoldback", "No limit is absolute, so in the last step 1 % stays behind to be compared with.")
    spec["gates"] = [said.entry for said in proposal.gates]
    made.lists["gates"] = proposal.gates
    made.say("gates", evidence)
    if not proposal.gates:
        made.say("gates", "Without gates every candidate whose pods are ready is promoted.")
        made.look_at.append("gates: there are none")
    elif not any("errors" in str(said.entry["name"]) for said in proposal.gates):
        made.look_at.append("gates: none counts errors, so a candidate that only fails fast is promoted")
    made.look_at.extend(proposal.warnings)


def to_yaml(made: Draft) -> str:
    """The manifest with its reasons."""
    head = {key: made.body[key] for key in ("apiVersion", "kind", "metadata")}
    lines = ["# Made by `modelrollout init` from what runs now. Read it, change what is wrong, then apply it."]
    for one in made.look_at:
        lines += textwrap.wrap(f"# Look at: {one}", _WIDTH, subsequent_indent="#   ")
    lines += [*_dumped(head, ""), "spec:"]
    lines += ["  # mode: observe  # steps go on by time, and what would have been done is only said"]
    for key, value in made.body["spec"].items():
        for text in made.why.get(key, []):
            lines += _comment(text)
        if key in made.lists:
            lines += _listed(key, made.lists[key])
        else:
            lines += _dumped({key: value}, "  ")
    return "\n".join(lines) + "\n"


def _listed(key: str, entries: Sequence[Said]) -> list[str]:
    if not entries:
        return [f"  {key}: []"]
    lines = [f"  {key}:"]
    for said in entries:
        for text in said.why:
            lines += _comment(text)
        lines.append(
            "  - " + yaml.safe_dump(said.entry, default_flow_style=True, sort_keys=False, width=10_000).strip()
        )
    return lines


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  # ", subsequent_indent="  # ")


def _dumped(value: Any, indent: str) -> list[str]:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return [f"{indent}{line}" if line else "" for line in text.splitlines()]
