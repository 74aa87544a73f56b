// Command kstatus says what GitOps controllers see in captured objects.
//
// It reads a JSON object {name: Kubernetes object} and prints {name: {"kstatus": …, "flux": …}}. "kstatus" is the
// verdict of the kstatus library, which kubectl-like tools and Flux use for kinds that they do not know. "flux" is the
// verdict of Flux's own evaluator on the healthCheckExprs of the Kustomization that is named on the command line; an
// expression that cannot be evaluated yields "Error: …", as it would stop Flux.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	flux "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

type verdict struct {
	Kstatus string `json:"kstatus"`
	Flux    string `json:"flux"`
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: kstatus FLUX-KUSTOMIZATION.yaml < objects.json"))
	}
	checks, err := readChecks(os.Args[1])
	if err != nil {
		fail(err)
	}
	objects := map[string]*unstructured.Unstructured{}
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		fail(err)
	}
	verdicts := map[string]verdict{}
	for name, object := range objects {
		verdicts[name] = verdict{Kstatus: byKstatus(object), Flux: byFlux(object, checks)}
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		fail(err)
	}
}

func byKstatus(object *unstructured.Unstructured) string {
	result, err := kstatus.Compute(object)
	if err != nil {
		return "Error: " + err.Error()
	}
	return result.Status.String()
}

// byFlux does what Flux does: the expressions for the object's kind, and kstatus where there are none.
func byFlux(object *unstructured.Unstructured, checks []kustomize.CustomHealthCheck) string {
	for _, check := range checks {
		if check.APIVersion != object.GetAPIVersion() || check.Kind != object.GetKind() {
			continue
		}
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return "Error: " + err.Error()
		}
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return "Error: " + err.Error()
		}
		return string(result.Status)
	}
	return byKstatus(object)
}

// readChecks reads the file as strictly as an API server with Flux's definitions would with --validate=strict.
func readChecks(path string) ([]kustomize.CustomHealthCheck, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var kustomization flux.Kustomization
	if err := yaml.UnmarshalStrict(raw, &kustomization); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(kustomization.Spec.HealthCheckExprs) == 0 {
		return nil, fmt.Errorf("%s has no spec.healthCheckExprs", path)
	}
	return kustomization.Spec.HealthCheckExprs, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "kstatus:", err)
	os.Exit(1)
}
