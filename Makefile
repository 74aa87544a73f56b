# Two commands do everything on a fresh machine: `make demo` and `make test`.
# They need Python 3.11 or newer and nothing else; as root on Debian or Ubuntu they install even its venv module.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER ?= local
WORKERS ?= 2
SECONDS ?= 600
ARGS ?=

.PHONY: help demo test check unit cluster-test setup crds docs lock fuzz sbom bench scale soak clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: setup ## releases of a click model before your eyes (KEEP=1 leaves it running; CLUSTER=kind or current)
	@$(BIN)/python -m demo --cluster $(CLUSTER) $(ARGS)

test: setup check unit cluster-test ## everything: linters, types, unit, property and cluster tests

check: setup ## linters, types, layers, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@PYTHONPATH=operator $(BIN)/lint-imports

unit: setup ## unit and property tests, and a little fuzzing
	@$(BIN)/python -m pytest tests/unit tests/property tests/fuzz -q -n $(WORKERS) $(ARGS)

cluster-test: setup ## tests on real control planes, gateways and Prometheus (WORKERS=2 side by side)
	@$(BIN)/python -m pytest tests/cluster tests/dataplane tests/kind -q --dist loadgroup --no-loadscope-reorder \
		--tx '$(WORKERS)*popen//python=$(BIN)/python -m localcluster exec -- $(BIN)/python' $(ARGS)

setup: $(VENV)/.done ## the Python environment, the cluster's programs, and what tests need of the system
	@./scripts/setup-system
	@$(BIN)/python -m localcluster build
	@$(BIN)/python -m tests.support.kstatus
	@$(BIN)/python -m tests.support.promtool

$(VENV)/.done: requirements.lock pyproject.toml
	@./scripts/setup-python "$(PYTHON)" "$(VENV)"
	@touch $@

crds: setup ## write crds/ from the models
	@PYTHONPATH=operator $(BIN)/python -m modelrollout.api.crd crds

docs: setup ## write docs/reference.md, presets.md, metrics.md and the PrometheusRule from what they tell of
	@PYTHONPATH=operator $(BIN)/python -m modelrollout.api.reference docs/reference.md
	@PYTHONPATH=operator $(BIN)/python -m modelrollout.api.presets.page docs/presets.md
	@PYTHONPATH=operator $(BIN)/python -m modelrollout.telemetry.page docs/metrics.md
	@./scripts/prometheus-rule > manifests/monitoring/prometheusrule.yaml

lock: setup ## pin every dependency anew, with hashes
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header -q -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-header -q -o requirements-operator.lock

fuzz: setup ## hunt for input that breaks a reader (SECONDS=600)
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

sbom: setup ## what is in the operator's image, as build/sbom.cdx.json (CycloneDX)
	@$(BIN)/python scripts/sbom.py build/sbom.cdx.json

bench: setup ## how fast and how cheap: prints tables
	@$(BIN)/python -m localcluster exec -- $(BIN)/python -m tests.bench.reaction
	@$(BIN)/python -m localcluster exec -- $(BIN)/python -m tests.bench.idle
	@PYTHONPATH=operator $(BIN)/python -m tests.bench.scrape

scale: setup ## hundreds of rollouts at once, and what they cost: about an hour (ARGS="--n 100 --interval 2s")
	@$(BIN)/python -m tests.bench.scale $(ARGS)

soak: setup ## two hours of releases and faults, and what grew or was left over (ARGS="--minutes 5")
	@$(BIN)/python -m tests.bench.soak $(ARGS)

clean: ## remove the Python environment (the cluster's programs stay in the user cache)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
