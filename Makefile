# `make run` serves, `make test` tests, `make check` lints; nothing has to be set up first.
# `make serve` serves production with the settings of the environment or `.env`.

PYTHON ?= python3
HOST ?= 127.0.0.1
WORKERS ?= 2

BIN := .venv/bin
# Tests and checks must not depend on the configuration of a local server.
UNCONFIGURED := env $(shell sed -n 's/^.\([A-Z][A-Z_]*\)=.*/-u \1/p' .env.example) ENV_FILE=/dev/null
# New keys for each check: a key in this file would be public, and no server starts with such a key.
NEW_KEY = "$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(64))')"
PRODUCTION = $(UNCONFIGURED) DEBUG=false ALLOWED_HOSTS=wallet.example \
	SECRET_KEY=$(NEW_KEY) LEDGER_KEY=$(NEW_KEY)

.PHONY: run serve test test-quick test-sqlite test-postgres test-mariadb check openapi format lock clean

run: $(BIN)/.server
	@$(BIN)/python manage.py start $(HOST):$(or $(PORT),8000)

serve: $(BIN)/.server
	@$(BIN)/python -m almaFintech.server

test: test-sqlite test-postgres

# For use after each change: about a minute, on SQLite and without the tests that start servers.
test-quick: $(BIN)/.dev
	$(UNCONFIGURED) $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not server"

test-sqlite: $(BIN)/.dev
	$(UNCONFIGURED) $(BIN)/pytest -n $(WORKERS) --dist worksteal

test-postgres: $(BIN)/.dev
	$(UNCONFIGURED) $(BIN)/python scripts/with_postgres.py $(BIN)/pytest -n $(WORKERS) --dist worksteal

test-mariadb: $(BIN)/.mariadb
	$(UNCONFIGURED) $(BIN)/python scripts/with_mariadb.py $(BIN)/pytest -n $(WORKERS) --dist worksteal

check: $(BIN)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(UNCONFIGURED) $(BIN)/mypy .
	$(BIN)/lint-imports
	$(UNCONFIGURED) $(BIN)/python manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(UNCONFIGURED) $(BIN)/python manage.py spectacular --validate --fail-on-warn \
		| diff --unified openapi.yaml - || { echo "Renew it: make openapi" >&2; exit 1; }

# The document that the server publishes at /api/schema/; kept here, reviews show its changes.
openapi: $(BIN)/.dev
	$(UNCONFIGURED) $(BIN)/python manage.py spectacular --validate --fail-on-warn --file openapi.yaml

format: $(BIN)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Locks the newest releases that the inputs in requirements/ allow.
lock: $(BIN)/.dev
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		requirements/base.in --output-file requirements.txt
	for set in dev mariadb; do \
		$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			requirements/$$set.in --output-file requirements/$$set.txt || exit 1; \
	done

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is required; set PYTHON= to one" >&2; exit 1; }
	@$(PYTHON) -m venv .venv \
		|| { rm -rf .venv; echo "On Debian, install the package python3-venv." >&2; exit 1; }

# The marker files record the installed sets, and are rebuilt when a list changes.
$(BIN)/.server: requirements.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(BIN)/.dev: requirements/dev.txt $(BIN)/.server
	$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(BIN)/.mariadb: requirements/mariadb.txt $(BIN)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	@touch $@
