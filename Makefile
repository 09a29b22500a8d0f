# Couponsite: see `make help`. Needs Python 3.11 or later and nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# A process for each core. Tests that share what their file makes go to one; the others are handed out in their order, so
# that those which empty the database come last in each.
IN_PARALLEL := -n auto --dist loadgroup
ON_POSTGRES := --ignore=tests/ml --ignore=tests/faults
BIND ?= 127.0.0.1:8000
DATABASE ?= both
ARGUMENTS ?=
ADDRESS ?= http://$(BIND)
NAME ?= demo
SHOP_PORT ?= 8010
SHOP ?= complete-journey
SHOPPERS ?= 10000
REPORT ?= docs/benchmark.md

.PHONY: help
help:  ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -nE 's/^([a-z]+):.*## (.*)/  make \1  \2/p' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/.installed  ## The environment with the pinned requirements, in .venv

.PHONY: neural
neural: $(VENV)/.installed-neural  ## PyTorch for the neural algorithm too, in .venv

.PHONY: demo
demo: $(VENV)/.installed  ## The whole loop on a sample shop, then the site (SHOP=appliances; BIND=HOST:PORT; SERVE=0 stops before it)
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py collectstatic --no-input --verbosity 0
	@$(BIN)/python manage.py demo --shop $(SHOP) --bind $(BIND)
ifneq ($(SERVE),0)
	@$(BIN)/python manage.py up --bind $(BIND)
endif

.PHONY: shop
shop: $(VENV)/.installed  ## The example shop in front of a site that runs, such as make demo (ADDRESS=; SHOP_PORT=8010)
	@told=$$($(BIN)/python manage.py prepare_example_shop); echo "$$told"; \
	  exec $(BIN)/python examples/shop/backend.py "$${told##*$$'\n'}" --site $(ADDRESS) --port $(SHOP_PORT)

.PHONY: test
# What touches no database runs once: all of tests/ml, since the layers of ARCHITECTURE.md keep Django out of
# recommender/ml. tests/faults brings a PostgreSQL of its own.
test: $(VENV)/.installed-dev  ## All tests, on SQLite and on PostgreSQL (DATABASE=sqlite or postgres: on one; ARGUMENTS=...: to pytest)
ifneq ($(DATABASE),postgres)
	$(BIN)/python -m pytest $(IN_PARALLEL) $(ARGUMENTS)
endif
ifneq ($(DATABASE),sqlite)
	$(BIN)/python -m tests.servers $(BIN)/python -m pytest $(IN_PARALLEL) $(ON_POSTGRES) -m "database or real" $(ARGUMENTS)
endif

.PHONY: prove
prove: $(VENV)/.installed-dev  ## The proofs that take minutes (DATABASE= and ARGUMENTS= as for test)
ifneq ($(DATABASE),postgres)
	COUPONSITE_PROVE=1 $(BIN)/python -m pytest -m prove $(ARGUMENTS)
endif
ifneq ($(DATABASE),sqlite)
	COUPONSITE_PROVE=1 $(BIN)/python -m tests.servers $(BIN)/python -m pytest $(ON_POSTGRES) -m "prove and (database or real)" $(ARGUMENTS)
endif

.PHONY: benchmark
# The bare model wants LightGBM, which is no requirement: pip install lightgbm.
benchmark: $(VENV)/.installed-dev  ## A night in a made-up shop, on a PostgreSQL of its own (SHOPPERS=10000; REPORT=docs/benchmark.md)
	$(BIN)/python -m tests.servers sh -c '$(BIN)/python manage.py benchmark --shoppers $(SHOPPERS) --report $(REPORT) --database "$$DATABASE_URL"'

.PHONY: lint
lint: $(VENV)/.installed-dev  ## Style, types and the layers of ARCHITECTURE.md
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml couponsite recommender examples manage.py

.PHONY: audit
audit: $(VENV)/.installed-dev  ## Known vulnerabilities of the requirements, from the package index
	$(BIN)/python -m tests.audit requirements.txt requirements-s3.txt requirements-sentry.txt requirements-neural.txt

.PHONY: catalogues
catalogues: $(VENV)/.installed-dev  ## Bring the translations in locale up to date, and list what is not translated
	$(BIN)/python -m tests.catalogues

.PHONY: screenshots
screenshots: $(VENV)/.installed-dev  ## Pictures of a site that runs, for docs/screenshots (PASSWORD=...; ADDRESS=, NAME=, SHOP=)
	@test -n "$(PASSWORD)" || { echo "Whose site? make screenshots PASSWORD=..., as make demo prints it." >&2; exit 1; }
	$(BIN)/python -m tests.browser.screenshots --shop $(SHOP) $(ARGUMENTS) -- $(ADDRESS) $(NAME) "$(PASSWORD)"

.PHONY: requirements
requirements: $(VENV)/.installed-dev  ## Compile requirements*.txt from requirements*.in
	@for name in requirements requirements-s3 requirements-sentry requirements-dev; do \
	  $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --no-header --no-annotate --no-emit-index-url \
	    --no-emit-find-links --no-emit-trusted-host --no-emit-options --output-file $$name.txt $$name.in; \
	done

$(VENV)/.installed: requirements.txt
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or later is needed (make PYTHON=/path/to/python)." >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@$(call install,requirements.txt)
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@$(call install,requirements.txt -r requirements-dev.txt)
	@touch $@

$(VENV)/.installed-neural: $(VENV)/.installed requirements-neural.txt
	@$(call install,requirements.txt -r requirements-neural.txt)
	@touch $@

# pip shows a line for each package that it fetches, and what went wrong.
define install
echo "Installing $(1) into $(VENV)" && \
$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -r $(1) | awk '/^Collecting/ {print "  " $$2; fflush()}'
endef
