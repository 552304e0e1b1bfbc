# `make demo` and `make test` are all a newcomer needs; both do their own set-up.
PYTHON ?= python3
BIN := .venv/bin
# Half as many again as there are cores: many tests wait for somebody.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(max(2, (os.cpu_count() or 1) * 3 // 2))")

.PHONY: setup demo test test-frameworks conformance lint fuzz bench docs clean
setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/qfkit demo

# make test COVERAGE=1 reports branch coverage, too, and takes half as long again.
test: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(if $(COVERAGE),--cov --cov-report=term:skip-covered) $(ARGS)

# LangChain, LiteLLM and LlamaIndex against the mock. An environment of its own: they want versions that ours does not.
FRAMEWORKS := .venv-frameworks

$(FRAMEWORKS)/.installed: pyproject.toml constraints-frameworks.txt
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-frameworks.txt \
		-e '.[test,frameworks]' pytest-timeout
	@touch $@

test-frameworks: $(FRAMEWORKS)/.installed
	QFKIT_REQUIRE_FRAMEWORKS=1 $(FRAMEWORKS)/bin/python -m pytest tests/frameworks $(ARGS)

# Every case for every client, those of .venv-frameworks too, into docs/conformance.json and docs/conformance.md.
CONFORMANCE := -q -p no:cacheprovider --tb=short --qianfan-conformance-json

conformance: setup $(FRAMEWORKS)/.installed
	QFKIT_CONFORMANCE=all $(BIN)/python -m pytest -n 0 $(CONFORMANCE)=.conformance-1.json \
		$(addprefix tests/conformance/test_conform_,reference.py openai.py qianfan.py)
	QFKIT_REQUIRE_FRAMEWORKS=1 $(FRAMEWORKS)/bin/python -m pytest $(CONFORMANCE)=.conformance-2.json \
		tests/frameworks/test_conform_langchain.py
	$(BIN)/python -m docs.generate --conformance .conformance-1.json .conformance-2.json
	rm .conformance-1.json .conformance-2.json

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
	rm -rf .venv $(FRAMEWORKS) .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
