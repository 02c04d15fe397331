# Everything runs in .venv, which is made on first use and brought up to date whenever
# pyproject.toml or constraints.txt changed.

CHECKS := check-types check-wheel check-twin check-tests check-golden check-style check-imports

.DELETE_ON_ERROR:
.PHONY: help prove test node wheel check-speed soak kills format constraints clean $(CHECKS)
.DEFAULT_GOAL := help

BIN := .venv/bin
INSTALLED := .venv/.installed
NODE := .venv/node
NODE_INSTALLED := $(NODE)/.installed
PACKAGES := core sim scenarios reports bench edgeproof
SEEDS ?= 20000
KILLS ?= 1000
DIST ?= dist
# One more than the two processors of CI: many tests wait for a process or a real time limit. With
# worksteal a worker begins with whole modules, so that what these share is seldom set up twice.
TESTS_AT_ONCE ?= 3

# The first Python that is new enough and can make a virtual environment; failing that, the first
# that is new enough. Debian moves ensurepip to a package of its own; `import venv` alone succeeds
# without it. A command is run, not looked up: a version manager's shim exists for every version.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell \
	for code in 'import ensurepip, venv; $(NEW_ENOUGH)' '$(NEW_ENOUGH)'; do \
		for python in python3.13 python3.12 python3.11 python3; do \
			if "$$python" -c "$$code" 2>/dev/null; then echo "$$python"; exit; fi; \
		done; \
	done)

# Empty if PYTHON will do, else one line that says what to install.
PYTHON_FAULT = $(shell \
	if ! "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null; then \
		echo "edgeproof needs Python 3.11 or newer; on Debian: apt-get install python3-venv"; \
	elif ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then \
		"$(PYTHON)" -c 'import sys; print("%s cannot make a virtual environment; on Debian: apt-get install python%d.%d-venv" % (sys.argv[1], *sys.version_info[:2]))' "$(PYTHON)"; \
	fi)

# Runs a check and prints how long it took: $(call timed,name,command).
timed = @echo "== $(1)"; start=$$(date +%s); $(2) || exit; \
	echo "== $(1): $$(($$(date +%s) - start)) s"

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1#/p' Makefile | \
		while IFS='#' read -r target text; do printf '  %-15s%s\n' "$$target" "$$text"; done

prove: $(INSTALLED) ## predict and measure the baseline scenario, side by side (ARGS="--option ...")
	$(BIN)/edgeproof prove scenarios/baseline.toml $(ARGS)

# The checks run two at a time, the longest first, and each one's output is held until it ends.
# Speed is measured alone.
# pytest comes last, so that its summary is what stays on the screen.
test: $(INSTALLED) $(if $(shell command -v npm),$(NODE_INSTALLED)) ## run every check and test
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target $(CHECKS)
	@$(MAKE) --no-print-directory check-speed
	$(BIN)/pytest -n $(TESTS_AT_ONCE) --dist worksteal --benchmark-disable

$(CHECKS): $(INSTALLED)

check-types:
	$(call timed,mypy,$(BIN)/mypy)

check-wheel: ## build the wheel, install it alone, simulate with it and run docs/library.md
	$(call timed,wheel,$(BIN)/python -m tests.packaging.check_wheel)

check-golden:
	$(call timed,golden figures,$(BIN)/edgeproof bench check)

# Compiles the twin, for which every process of the tests would else find no machine code.
check-twin:
	$(call timed,golden figures of the twin,$(BIN)/edgeproof bench check --engine compiled)

# Every process of pytest would else rewrite the assertions of every module, three at a time.
check-tests:
	$(call timed,tests that can be collected,out=$$($(BIN)/pytest --collect-only -qq 2>&1) || { echo "$$out"; exit 1; })

check-style:
	$(call timed,ruff check,$(BIN)/ruff check .)
	$(call timed,ruff format,$(BIN)/ruff format --check .)

check-imports:
	$(call timed,lint-imports,$(BIN)/lint-imports --no-logo)

check-speed: $(INSTALLED) ## compare five benchmarks with the revision that bench/base.json pins
	$(call timed,speed,$(BIN)/edgeproof bench compare-base)

node: $(NODE_INSTALLED) ## install what runs a Worker here: Node.js, miniflare and workerd (needs npm)

wheel: $(INSTALLED) ## build a release: the wheel, with its constraints beside it, in dist/ (DIST=dist)
	$(BIN)/python -m build --wheel --no-isolation --outdir $(DIST)
	cp constraints.txt $(DIST)/

soak: $(INSTALLED) ## try caches and engines in many random worlds (SEEDS=20000)
	EDGEPROOF_SEEDS=$(SEEDS) $(BIN)/pytest -n 2 tests/sim/test_cache_invariants.py
	EDGEPROOF_TWINS=$(SEEDS) $(BIN)/pytest tests/sim/test_twins.py -k random

kills: $(INSTALLED) ## kill the queue's processes at many random points, the service too (KILLS=1000)
	EDGEPROOF_KILLS=$(KILLS) $(BIN)/pytest -q -o faulthandler_timeout=0 \
		tests/core/delivery/test_queue_kills.py
	$(BIN)/python -m bench.kills --points $(KILLS)

format: $(INSTALLED) ## format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Refreshes every pin: run it after a change of the dependencies in pyproject.toml, or to take up
# new releases; then run `make test` and commit constraints.txt. The result holds names, versions
# and markers only, for every platform and Python that pyproject.toml allows; should the resolver
# ever write an address or an option into it, the target fails and the old file stays.
constraints: | $(BIN)/pip ## pin every dependency anew in constraints.txt
	rm -rf build/pins
	$(BIN)/python -m venv build/pins
	build/pins/bin/python -m pip install --quiet uv
	build/pins/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --upgrade \
		--no-header --no-annotate --output-file build/pins/constraints.txt pyproject.toml
	! grep -nE '://|^-|@' build/pins/constraints.txt
	cp build/pins/constraints.txt constraints.txt
	rm -rf build/pins

clean: ## remove everything that was made, except runs/
	rm -rf .venv build dist *.egg-info .benchmarks .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/pip:
	$(if $(PYTHON_FAULT),$(error $(PYTHON_FAULT)))
	$(PYTHON) -m venv .venv

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	@# pip would compile on one processor; like pip, this lets pass what does not compile.
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $@

# No script of a package runs. npm comes with Node.js; the packages bring the Node.js that they run on.
$(NODE_INSTALLED): scenarios/worker/package.json scenarios/worker/package-lock.json | $(BIN)/pip
	$(if $(shell command -v npm),,$(error npm is missing; on Debian: apt-get install nodejs npm))
	@mkdir -p $(NODE)
	@cp $^ $(NODE)/
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --prefix $(NODE)
	@touch $@
