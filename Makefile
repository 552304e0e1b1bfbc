# `make demo` and `make test` are all a newcomer needs; both do their own set-up.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= auto

.PHONY: setup demo test lint fuzz bench docs clean
setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/qfkit demo

test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term:skip-covered $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Nonsense for the front door and the stream decoder: make fuzz SECONDS=300
fuzz: setup
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

# Documents that are generated from the tables; a test fails when they are stale.
docs: setup
	$(BIN)/python -m docs.generate

clean:
	rm -rf .venv .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
