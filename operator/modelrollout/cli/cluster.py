"""The only place of the CLI that talks to an API server: objects in and out as plain dicts, errors with a remedy.

``kubernetes`` takes a while to import, so it is imported where it is used and ``--help`` and usage errors stay instant.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from modelrollout.api.meta import GROUP, LABEL_NAME, VERSION
from modelrollout.check.found import ForbiddenError, MissingError, RefusedError
from modelrollout.cli.errors import CliError, UnreachableError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, ApiException

__all__ = ["DECISIONS", "DEPLOYMENTS", "FREEZES", "INCIDENTS", "ROLLOUTS", "Cluster", "Connection", "Resource"]

_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 240.0
"""A watch is renewed this often, well before load balancers cut idle connections."""


_JSON: Final = "application/json"
_CHECKER: Final = "modelrollout-check"
"""Who would have applied, had it not been a trial."""
_BUSY: Final = (429, 500, 502, 503, 504)
"""Answers of a server that is starting, overloaded or behind a proxy: it may answer better soon."""


class Resource(NamedTuple):
    """Where a kind lives in the API."""

    group: str
    version: str
    plural: str


ROLLOUTS: Final = Resource(GROUP, VERSION, "modelrollouts")
DECISIONS: Final = Resource(GROUP, VERSION, "rolloutdecisions")
FREEZES: Final = Resource(GROUP, VERSION, "rolloutfreezes")
INCIDENTS: Final = Resource(GROUP, VERSION, "rolloutincidents")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments")


@dataclass(frozen=True, slots=True)
class Connection:
    """Which cluster and namespace, as kubectl's flags of the same names say."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None

    def flags(self) -> str:
        """The flags, to be shown in a kubectl command that does the same."""
        given = (("--kubeconfig", self.kubeconfig), ("--context", self.context))
        return "".join(f" {flag} {value}" for flag, value in given if value)


class Cluster:
    """One API server and a namespace in it."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        from kubernetes.client import CustomObjectsApi

        self.namespace = namespace
        self._host = client.configuration.host
        self._client = client
        self._objects = CustomObjectsApi(client)

    @classmethod
    def connect(cls, to: Connection) -> Cluster:
        """Read the kubeconfig (or, in a pod, the ServiceAccount) as kubectl does. Nothing is sent yet."""
        from kubernetes import client, config
        from urllib3 import disable_warnings
        from urllib3.exceptions import InsecureRequestWarning

        disable_warnings(InsecureRequestWarning)  # whoever wrote insecure-skip-tls-verify knows; kubectl is silent too
        settings = client.Configuration()
        settings.retries = False
        try:
            config.load_kube_config(to.kubeconfig, context=to.context, client_configuration=settings)
            namespace = _namespace_of_context(to)
        except (config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError) as error:
            if to.kubeconfig or to.context or "KUBERNETES_SERVICE_HOST" not in os.environ:
                raise CliError(
                    f"the kubeconfig cannot be used: {' '.join(str(error).split())}",
                    "see what kubectl uses with `kubectl config view`; name another file with --kubeconfig, "
                    "or another context with --context",
                ) from error
            config.load_incluster_config(client_configuration=settings)
            namespace = "default"
        return cls(client.ApiClient(settings), to.namespace or namespace)

    def rollout(self, name: str) -> dict[str, Any]:
        """One ModelRollout; when there is none of that name the error suggests near ones."""
        for body in self.find(ROLLOUTS, fields=f"metadata.name={name}"):
            return body
        raise self._no_such_rollout(name)

    def deployments(self, name: str) -> list[dict[str, Any]] | None:
        """The Deployments of a rollout's revisions; None when this person may not see Deployments."""
        try:
            return self.find(DEPLOYMENTS, labels=f"{LABEL_NAME}={name}")
        except CliError as error:
            if error.message.startswith("forbidden"):
                return None
            raise

    def decisions(self, name: str) -> list[dict[str, Any]]:
        """What humans said of a rollout, the newest first."""
        said = [body for body in self.find(DECISIONS) if body["spec"]["rollout"] == name]
        return sorted(said, key=lambda body: str(body["metadata"]["creationTimestamp"]), reverse=True)

    def find(
        self, resource: Resource, *, fields: str = "", labels: str = "", everywhere: bool = False
    ) -> list[dict[str, Any]]:
        """Objects of a kind."""
        items = self._page(resource, fields, labels, everywhere=everywhere)["items"]
        return list(items)

    def follow(
        self, resource: Resource, *, fields: str = "", labels: str = "", seconds: float | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """All objects of a selection, now and again after every change, by a list and a watch; ends after a time."""
        ends = None if seconds is None else time.monotonic() + seconds
        while True:
            page = self._page(resource, fields, labels)
            found = {str(item["metadata"]["name"]): item for item in page["items"]}
            yield list(found.values())
            left = _WATCH_SECONDS if ends is None else min(_WATCH_SECONDS, ends - time.monotonic())
            if left <= 0:
                return
            for event in self._events(resource, fields, labels, str(page["metadata"]["resourceVersion"]), left):
                name = str(event["object"]["metadata"]["name"])
                if event["type"] == "DELETED":
                    found.pop(name, None)
                else:
                    found[name] = event["object"]
                yield list(found.values())
                if ends is not None and time.monotonic() >= ends:
                    return

    def create_decision(self, body: dict[str, Any]) -> dict[str, Any]:
        """Write a RolloutDecision."""
        with self._understood(f"create {DECISIONS.plural} in namespace {self.namespace}"):
            made: Any = self._objects.create_namespaced_custom_object(
                *DECISIONS[:2], self.namespace, DECISIONS.plural, body, _request_timeout=_timeouts()
            )
        return dict(made)

    def create_in_cluster(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        """Write an object that belongs to no namespace."""
        with self._understood(f"create {resource.plural}", resource):
            made: Any = self._objects.create_cluster_custom_object(*resource, body, _request_timeout=_timeouts())
        return dict(made)

    def delete_in_cluster(self, resource: Resource, name: str) -> None:
        """Delete an object that belongs to no namespace."""
        with self._understood(f"delete {resource.plural}", resource):
            self._objects.delete_cluster_custom_object(*resource, name, _request_timeout=_timeouts())

    def get(self, path: str, query: Mapping[str, str] | None = None, *, metadata_only: bool = False) -> dict[str, Any]:
        """See :class:`modelrollout.check.found.Api`."""
        accept = f"{_JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1" if metadata_only else _JSON
        return self._ask("GET", path, list((query or {}).items()), {"Accept": accept})

    def would_apply(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """See :class:`modelrollout.check.found.Api`."""
        query = [("dryRun", "All"), ("fieldManager", _CHECKER), ("force", "true"), ("fieldValidation", "Strict")]
        headers = {"Accept": _JSON, "Content-Type": "application/apply-patch+yaml"}
        return self._ask("PATCH", path, query, headers, body)

    def _ask(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Any object by its path; the API server's answers that are no surprise are told apart."""
        client = self._objects.api_client
        request = client.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        with self._understood(f"{method} {path}"):
            response = client.call_api(*request, _request_timeout=_timeouts())
            response.read()
            answer = _json(response.data)
            if response.status < 300:
                return answer
            message = str(answer.get("message") or response.reason)
            if response.status == 403:
                raise ForbiddenError(_right(message))
            if response.status == 404:
                raise MissingError(message)
            if response.status in (400, 409, 422):
                raise RefusedError(message)
            from kubernetes.client import ApiException

            raise ApiException(status=response.status, reason=message)

    def whoami(self) -> str:
        """The user name by which the API server knows this person; empty when it does not tell."""
        from kubernetes.client import ApiException

        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        with self._understood("ask who you are"):
            try:
                answer: Any = self._objects.create_cluster_custom_object(
                    "authentication.k8s.io", "v1", "selfsubjectreviews", review, _request_timeout=_timeouts()
                )
            except ApiException as error:
                if error.status in (403, 404):  # an old server, or a person without the default role
                    return ""
                raise
        return str(answer.get("status", {}).get("userInfo", {}).get("username", ""))

    def may(self, verb: str, namespace: str, name: str) -> bool:
        """Whether this person has a verb on a ModelRollout."""
        about = {"group": GROUP, "resource": ROLLOUTS.plural, "verb": verb, "namespace": namespace, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": about},
        }
        with self._understood("ask what you may do"):
            answer: Any = self._objects.create_cluster_custom_object(
                "authorization.k8s.io", "v1", "selfsubjectaccessreviews", review, _request_timeout=_timeouts()
            )
        return bool(answer.get("status", {}).get("allowed"))

    def _page(self, resource: Resource, fields: str, labels: str, *, everywhere: bool = False) -> dict[str, Any]:
        chosen: dict[str, Any] = {"field_selector": fields, "label_selector": labels, "_request_timeout": _timeouts()}
        with self._understood(f"list {resource.plural}", resource):
            found: Any
            if not resource.group:
                return self._core_page(resource, fields, labels)
            if everywhere:
                found = self._objects.list_cluster_custom_object(*resource, **chosen)
            else:
                group, version, plural = resource
                found = self._objects.list_namespaced_custom_object(group, version, self.namespace, plural, **chosen)
        return dict(found)

    def _core_page(self, resource: Resource, fields: str, labels: str) -> dict[str, Any]:
        """The same for a kind of the core group, which has a path of its own."""
        path = f"/api/{resource.version}/namespaces/{self.namespace}/{resource.plural}"
        selectors = [("fieldSelector", fields), ("labelSelector", labels)]
        request = self._client.param_serialize("GET", path, query_params=selectors, auth_settings=["BearerToken"])
        response = self._client.call_api(*request, _request_timeout=_timeouts())
        response.read()
        found: Any = self._client.response_deserialize(response, {"200": "object"}).data
        return dict(found)

    def _events(
        self, resource: Resource, fields: str, labels: str, version: str, seconds: float
    ) -> Iterator[dict[str, Any]]:
        """Changes since a resource version; ends after a time, or when that version is forgotten (410)."""
        from kubernetes.client import ApiException
        from kubernetes.watch import Watch

        with self._understood(f"watch {resource.plural}", resource):
            try:
                yield from Watch().stream(
                    self._objects.list_namespaced_custom_object,
                    resource.group,
                    resource.version,
                    self.namespace,
                    resource.plural,
                    field_selector=fields,
                    label_selector=labels,
                    resource_version=version,
                    timeout_seconds=max(1, round(seconds)),
                    _request_timeout=(_CONNECT_SECONDS, seconds + _ANSWER_SECONDS),
                )
            except ApiException as error:
                if error.status != 410:
                    raise

    def _no_such_rollout(self, name: str) -> CliError:
        here = [str(body["metadata"]["name"]) for body in self.find(ROLLOUTS)]
        near = difflib.get_close_matches(name, here, n=3, cutoff=0.5)
        if near:
            remedy = f"did you mean {' or '.join(near)}?"
        elif here:
            remedy = f"there are: {', '.join(sorted(here)[:10])}"
        else:
            remedy = (
                "there is none in this namespace; see all with `kubectl modelrollout list -A`, or give -n NAMESPACE"
            )
        return CliError(f'there is no ModelRollout "{name}" in namespace {self.namespace}', remedy)

    @contextmanager
    def _understood(self, doing: str, resource: Resource | None = None) -> Iterator[None]:
        """Turn what the client raises into what a person can act on."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            if not error.status:  # the client wraps broken TLS that way
                raise self._unreachable(str(error.reason)) from error
            if error.status in _BUSY:
                raise self._unreachable(f"{error.status} {error.reason}") from error
            raise _refused(error, doing, resource) from error
        except (HTTPError, OSError) as error:
            raise self._unreachable(str(error)) from error

    def _unreachable(self, reason: str) -> UnreachableError:
        short = reason.rsplit(": ", 1)[-1]
        return UnreachableError(
            f"the API server at {self._host} does not answer: {short}",
            "check with `kubectl cluster-info`; another cluster is named with --context",
        )


def _json(raw: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(raw or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _right(message: str) -> str:
    """What is not allowed, in the API server's words: ``cannot get resource "gateways" in API group …``."""
    found = re.search(r"cannot .*", message)
    return found.group(0) if found else f"may not: {message}"


def _timeouts() -> tuple[float, float]:
    return _CONNECT_SECONDS, _ANSWER_SECONDS


def _namespace_of_context(to: Connection) -> str:
    from kubernetes import config

    contexts, active = config.list_kube_config_contexts(to.kubeconfig)
    chosen = active if to.context is None else next(one for one in contexts if one["name"] == to.context)
    return str(chosen["context"].get("namespace") or "default")


def _refused(error: ApiException, doing: str, resource: Resource | None) -> CliError:
    """The API server's "no" with a remedy."""
    said = _said(error)
    if error.status == 401:
        return CliError("the API server does not know who you are (401)", "log in again; `kubectl auth whoami` tells")
    if error.status == 403:
        return CliError(f"forbidden to {doing}: {said}", f"ask an administrator for the right to {doing}")
    if error.status == 404 and resource is not None and resource.group == GROUP:
        return CliError(
            "this cluster does not know ModelRollouts",
            "install the CRDs: kubectl apply -f crds/; or name another --context",
        )
    if error.status == 404 and resource is not None:
        return CliError(
            f"this cluster does not know {resource.plural} ({resource.group}/{resource.version})",
            "install what brings them, or name another --context",
        )
    if error.status in (400, 422):
        return CliError(f"the API server refuses to {doing}: {said}", "correct what the message names")
    return CliError(
        f"cannot {doing}: {said} ({error.status})", "try again; `kubectl get --raw /readyz` tells how it is"
    )


def _said(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)
