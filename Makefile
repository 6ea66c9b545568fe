.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
export PHOTOS ?=
export PORT ?=

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-11s  %s\n", $$1, $$2}'

.PHONY: demo
demo: $(VENV)/.demo ## Turn a folder of photos into thumbnails, a contact sheet and a mail (PHOTOS=folder for your own)
	$(RUN)/python -m examples.photos.demo

.PHONY: demo-web
demo-web: $(VENV)/.demo-web ## The same as a web page, until Ctrl-C: drop photos, watch them, come back later (PORT=8000)
	@$(RUN)/python -m examples.photos.web

.PHONY: test
test: check ## Set up, check the code, run all tests
	$(RUN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone and not browser"
	$(RUN)/python -m pytest -m "alone and not browser"

.PHONY: test-web
test-web: $(VENV)/.dev ## Run the tests that need a browser (Debian's Chromium; root has it installed)
	@command -v chromium > /dev/null || [ -n "$$MAINSPRING_TEST_CHROMIUM" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	  && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core > /dev/null; } \
	  || { echo "There is no Chromium: apt-get install chromium as root, or set MAINSPRING_TEST_CHROMIUM to one." >&2; exit 1; }
	$(RUN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m browser tests/web tests/examples

.PHONY: coverage
coverage: $(VENV)/.dev ## Check that the unit tests reach every branch of the model
	$(RUN)/python -m coverage run --source=src/mainspring/model -m pytest -q tests/unit
	$(RUN)/python -m coverage report --show-missing --skip-covered --fail-under=100

.PHONY: postgres
postgres: $(VENV)/.dev ## Test the PostgreSQL store on each server in /usr/lib/postgresql
	set -e; for programs in /usr/lib/postgresql/*/bin; do if [ -x "$$programs/initdb" ]; then \
	  echo "PostgreSQL in $$programs"; \
	  MAINSPRING_TEST_POSTGRES_PROGRAMS="$$programs" $(RUN)/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder tests/store/test_postgres*.py tests/worker/test_postgres*.py; \
	fi; done

.PHONY: redis
redis: $(VENV)/.dev ## Test the Redis store on the server in /usr/bin (REDIS=folder for another one)
	MAINSPRING_TEST_REDIS_PROGRAMS="$(or $(REDIS),/usr/bin)" $(RUN)/python -m pytest -n 4 --dist loadfile tests/store/test_redis*.py

.PHONY: faults
faults: $(VENV)/.dev ## Break everything around it for MINUTES=1 on each store (STORE=redis, SEED=7, MIX="cut")
	PYTHONPATH=tests $(RUN)/python -m faults.chaos $(if $(STORE),--store $(STORE)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(MIX),--mix "$(MIX)")

.PHONY: leak
leak: $(VENV)/.dev ## Let one worker do JOBS=1000000 on STORE=sqlite, and see whether its memory stays flat
	PYTHONPATH=tests $(RUN)/python -m faults.leak $(if $(STORE),--store $(STORE)) $(if $(JOBS),--jobs $(JOBS))

.PHONY: reliability
reliability: $(VENV)/.dev ## Write the table of faults in docs/reliability.md from the marks of the tests
	PYTHONPATH=tests $(RUN)/python -m faults.table

.PHONY: simulate
simulate: $(VENV)/.dev ## Let simulated workers fail in every way (MINUTES=10), or replay one seed (SEED=n)
	cd tests && ../$(RUN)/python -m simulation $(if $(SEED),--seed $(SEED),--minutes $(or $(MINUTES),10))

.PHONY: check
check: $(VENV)/.dev ## Lint, formatting, types, import rules
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

.PHONY: fix
fix: $(VENV)/.dev ## Format the code and mend what the linter can
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

.PHONY: bench
bench: $(VENV)/.dev ## Measure speed on SQLite, PostgreSQL and Redis (15 minutes)
	$(RUN)/python -m bench

.PHONY: docs
docs: $(VENV)/.dev ## Run every code block in the README and docs
	$(RUN)/python -m pytest tests/docs

.PHONY: lock
lock: $(VENV)/bin/python ## Resolve the development lock anew
	$(RUN)/pip install --quiet --disable-pip-version-check uv
	$(RUN)/uv pip compile -q --universal --python-version 3.11 --all-extras --no-annotate --no-header --upgrade -o requirements-dev.lock pyproject.toml

.PHONY: clean
clean: ## Remove what the other targets made
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache bench/results

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Mainspring needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml examples/photos/requirements.txt
	$(RUN)/pip install --quiet --disable-pip-version-check -e . -r examples/photos/requirements.txt
	@touch $@

$(VENV)/.demo-web: $(VENV)/bin/python pyproject.toml examples/photos/requirements.txt
	$(RUN)/pip install --quiet --disable-pip-version-check -e '.[web]' -r examples/photos/requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml requirements-dev.lock
	$(RUN)/pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@
