# Everything a developer runs. `make` alone prints the list.
#
# Needs a Python of 3.11 to 3.13 and make; everything else is installed into .venv, from the
# lock, by the first target that wants it. PYTHON=... names another interpreter for .venv.
# Kept to what both GNU make 3.81 (macOS) and BSD make understand; all paths are relative, so that
# the folder's own name may hold anything.

.POSIX:
.PHONY: help run check test test-long fix torture fuzz bench proofs lock setup static

KILLS = 100
DB = sqlite
WORKERS = 4
PROCESSES = 1
ARGS =
IN_VENV = .venv/bin/python -m
READY = .venv/.ready

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: $(READY) ## start Waypost with a sample receiver and a first event
	@$(IN_VENV) waypost dev

static: $(READY)
	$(IN_VENV) ruff format --check
	$(IN_VENV) ruff check
	$(IN_VENV) mypy
	.venv/bin/lint-imports

check: static ## the fast checks: format, lint, types, layers, unit tests on SQLite (< 1 min)
	HYPOTHESIS_PROFILE=few $(IN_VENV) pytest -q -n 2 -k "not postgresql" tests/unit tests/conventions

test: static ## every check and every test but the long ones (< 10 min)
	$(IN_VENV) pytest -q -n 3 --dist worksteal

test-long: $(READY) ## the tests that take minutes each (< 30 min)
	$(IN_VENV) pytest -m long -o faulthandler_timeout=1500

fix: $(READY) ## format, and mend what the linter can mend
	$(IN_VENV) ruff check --fix
	$(IN_VENV) ruff format

torture: $(READY) ## kill KILLS times under load, check the ledger (DB=postgresql WORKERS=4)
	$(IN_VENV) tests.torture --kills $(KILLS) --database $(DB) --workers $(WORKERS)

fuzz: $(READY) ## every property test, with many more examples
	HYPOTHESIS_PROFILE=fuzz $(IN_VENV) pytest -m hypothesis -o faulthandler_timeout=0

bench: $(READY) ## measure, beside the limit loop (DB=postgresql PROCESSES=2; ARGS=--help)
	$(IN_VENV) bench --database $(DB) --processes $(PROCESSES) $(ARGS)

proofs: $(READY) ## write docs/reference/proofs.md anew, from the marks on the tests
	$(IN_VENV) tests.support.proofs

lock: $(READY) ## write requirements.lock anew from pyproject.toml, with the newest versions
	$(IN_VENV) uv pip compile pyproject.toml --group dev --universal --upgrade \
		--generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock

setup: $(READY) ## make .venv; the other targets do it by themselves

$(READY): requirements.lock pyproject.toml
	@set -e; \
	if .venv/bin/python -c "" 2>/dev/null; then :; else \
		found=; bare=; \
		if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; \
		else set -- python3 python3.13 python3.12 python3.11; fi; \
		for python do \
			"$$python" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" \
				2>/dev/null || continue; \
			if "$$python" -c "import ensurepip, venv" 2>/dev/null; then \
				found=$$python; break; fi; \
			bare=$$python; \
		done; \
		if [ -z "$$found" ]; then \
			if [ -n "$$bare" ]; then echo "$$bare cannot make virtual environments:" \
				"install its venv package (Debian: apt install python3-venv)." >&2; \
			else echo "No Python of 3.11 to 3.13 found: install one," \
				"or name it with PYTHON=/path/to/python." >&2; fi; \
			exit 1; \
		fi; \
		echo "Making .venv with $$found"; \
		"$$found" -m venv --clear .venv; \
	fi
	$(IN_VENV) pip install --quiet --require-hashes -r requirements.lock
	$(IN_VENV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(READY)
