# Everything that a developer or an operator types. `make` lists it.
#
# The first target that needs tools sets up the machine (Debian packages) and .venv; after that, setting up costs nothing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PYTHON := $(BIN)/python
READY := $(VENV)/complete
PLAYBOOKS = $(wildcard *.yml playbooks/*.yml)

# .cache/bin holds a redis-server where only Debian's redis-tools is installed.
export PATH := $(BIN):$(CURDIR)/.cache/bin:$(PATH):/usr/sbin:/sbin
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Compiled once, outside the tree: only modules may lie in library/.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/pycache

# What `make test` lists at its end.
SLOWEST := --durations=20 --durations-min=1

# Integration tests that mostly wait for Sentinel's clocks: more of them run at once.
CLOCKS := tests/integration/test_switchover.py tests/integration/test_redis_sentinel.py

say = printf '\n== %s\n'

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Install what the other targets need: Debian packages, .venv

$(READY): pyproject.toml tests/tools/setup.sh $(wildcard constraints/*.txt)
	@tests/tools/setup.sh $(VENV)
	@touch $@

.PHONY: lock
lock: $(READY) ## Pin the newest versions that pyproject.toml allows, one file for each Python
	@$(PYTHON) tests/tools/lock.py

.PHONY: test
test: $(READY) ## Everything below up to molecule, and how long each part took
	@$(PYTHON) tests/tools/parts.py lint,unit,integration,sanity,faults-ci molecule,newest

.PHONY: lint
lint: style types yaml ## Linters, types, syntax of playbooks, documentation of modules and roles
	@$(say) "ansible-lint: profile production, nothing skipped"
	@ansible-lint --nocolor -q
	@$(say) "ansible-config: ansible.cfg has only settings that exist"
	@ansible-config validate -t all
	@$(MAKE) syntax
	@$(say) "ansible-doc: every module and role renders"
	@$(PYTHON) tests/tools/render_docs.py

.PHONY: style types yaml
style: $(READY)
	@$(say) "ruff: Python style and mistakes"
	@ruff check . && ruff format --check .
types: $(READY)
	@$(say) "mypy --strict: types"
	@mypy -p lifeline
	@mypy plugins tests/tools
yaml: $(READY)
	@$(say) "yamllint"
	@yamllint --strict .

.PHONY: lint-modules
lint-modules: $(READY) ## Tell ansible-lint which modules are our own, after one was added
	@$(PYTHON) tests/tools/lint_modules.py

.PHONY: syntax
syntax: $(READY)
	@$(say) "ansible-playbook --syntax-check: $(PLAYBOOKS)"
	@if [ -n "$(PLAYBOOKS)" ]; then ansible-playbook -i localhost, --syntax-check $(PLAYBOOKS); fi

.PHONY: unit
unit: $(READY) ## Pure functions, rules that the repository keeps (T="tests/unit/test_lock.py -x")
	@$(say) "Unit tests"
	@pytest $(SLOWEST) $(if $(findstring tests/,$(T)),,tests/unit) $(T)

.PHONY: fast
fast: T = -n 2
fast: style types yaml unit ## Before each commit: style, types and unit tests, these on two processors

.PHONY: integration
integration: $(READY) ## Modules against real redis-server processes, with the oldest and newest redis-py
	@$(say) "Integration tests"
	@code=0; pytest $(SLOWEST) -n 4 $(CLOCKS) || code=1; \
	pytest $(SLOWEST) -n 2 tests/integration $(addprefix --ignore=,$(CLOCKS)) || code=1; exit $$code

.PHONY: sanity
sanity: $(READY) ## ansible-test sanity on the modules, as a throw-away collection
	@$(say) "ansible-test sanity"
	@$(PYTHON) tests/sanity/run.py

.PHONY: newest
newest: $(READY) ## A part of the tests with the newest ansible-core, where a Python 3.12 or later is found
	@$(say) "Newest ansible-core"
	@$(PYTHON) tests/tools/newest.py

.PHONY: molecule
molecule: $(READY) ## Whole journeys on lab hosts: provision, fail over, provision again, verify
	@$(say) "Molecule"
	@$(PYTHON) tests/tools/scenarios.py

.PHONY: demo
demo: $(READY) ## Build a lab, provision it, kill the primary, recover; no job may be lost
	@$(PYTHON) tests/demo/demo.py

.PHONY: lab-up
lab-up: $(READY) ## Make the lab's hosts
	@$(say) "Making the lab's hosts"
	@ansible-playbook playbooks/lab.yml -e lab_hosts_state=present

.PHONY: lab-down
lab-down: $(READY) ## Remove every trace of the lab
	@$(say) "Removing the lab"
	@ansible-playbook playbooks/lab.yml -e lab_hosts_state=absent

.PHONY: faults
faults: $(READY) ## Bring every fault about on the lab and see whether diagnose.yml names it (FAULTS="id family ...")
	@$(PYTHON) tests/faults/run.py --record $(FAULTS)

.PHONY: faults-healthy
faults-healthy: $(READY) ## Diagnose the healthy lab under load, 100 times (RUNS=100): nothing may be found
	@$(PYTHON) tests/faults/run.py --record --healthy $(or $(RUNS),100)

.PHONY: docs
docs: $(READY) ## Write the pages that come from the code: docs/faults.md, docs/safety.md, the table in docs/compliance.md
	@$(PYTHON) tests/tools/faults_page.py
	@$(PYTHON) tests/tools/recoveries_page.py
	@$(PYTHON) tests/tools/control_docs.py
	@$(PYTHON) tests/tools/safety_page.py

.PHONY: controls
controls: $(READY) ## Make every control fail on the lab, then repair what can be repaired (CONTROLS="RDS-001 ... --quick")
	@$(PYTHON) tests/controls/run.py --record $(CONTROLS)
	@$(PYTHON) tests/controls/run.py --record --repair $(CONTROLS)
	@$(PYTHON) tests/controls/distribution.py

.PHONY: faults-quick
faults-quick: $(READY) ## Faults of each family named and recovered from under load, two operators, scaling up, on a lab of its own
	@$(PYTHON) tests/faults/quick.py

.PHONY: faults-ci
faults-ci: $(READY) ## At least one fault of each family recovered from under load, two operators, scaling up, on a lab of its own
	@$(say) "Faults"
	@$(PYTHON) tests/faults/quick.py --ci

.PHONY: failsafe
failsafe: $(READY) ## recover.yml on ten estates that look odd and are in service: nothing may change (FAILSAFE="NAME ...")
	@$(PYTHON) tests/faults/failsafe.py $(FAILSAFE)

.PHONY: recover-faults
recover-faults: $(READY) ## Bring every fault about under load, recover from it, count the jobs (FAULTS="id family ...")
	@$(PYTHON) tests/faults/recover.py --record $(FAULTS)

.PHONY: recover-pairs recover-killed
recover-pairs: $(READY) ## Ten random pairs of faults at once: named, recovered from, jobs counted (PAIRS="--seed 2")
	@$(PYTHON) tests/faults/pairs.py --record $(PAIRS)
recover-killed: $(READY) ## Kill recover.yml at its task boundaries, run it again, count jobs (KILLED="--every 5")
	@$(PYTHON) tests/faults/killed.py --record $(KILLED)

.PHONY: bench-provision bench-recover bench-requeue bench-switchover bench-diagnose bench-compliance
bench-provision: $(READY) ## How long a provision.yml without changes takes
	@$(PYTHON) tests/bench/provision.py
bench-diagnose: $(READY) ## How long diagnose.yml takes: the lab, 1,000 endpoints, 1,000 hosts' evidence
	@$(PYTHON) tests/bench/diagnose.py
bench-recover: $(READY) ## How long recover.yml takes to the first accepted write
	@$(PYTHON) tests/bench/recover.py
bench-requeue: $(READY) ## How fast lost jobs are put back; smaller with BENCH="--jobs 5000 --jobs-large 50000 --scaled"
	@$(PYTHON) tests/bench/requeue.py $(BENCH)
bench-switchover: $(READY) ## What moving the primary costs writers and jobs, beside a bare SENTINEL FAILOVER
	@$(PYTHON) tests/bench/switchover.py
bench-compliance: $(READY) ## How long compliance.yml takes, and judging 1,000 hosts
	@$(PYTHON) tests/bench/compliance.py

.PHONY: mutants
mutants: $(READY) ## Turn decisions round, one at a time: which do no unit tests notice? (MUTANTS="--count 130 --seed 1 plan")
	@$(PYTHON) tests/tools/mutants.py $(MUTANTS)

.PHONY: clean
clean: ## Remove what setting up and testing left in this directory (the lab is lab-down's)
	@$(say) "Removing .venv, .venvs and caches"
	@rm -rf .venv .venvs .cache .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis
