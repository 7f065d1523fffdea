# Two commands, each of which sets up all that it needs in .venv:
#
#   make demo    serve the bundled digit classifier, and print a request to try
#   make test    ruff, mypy and all tests
#
# PYTHON=python3.12 chooses another interpreter, DEMO_FLAGS="--rest_api_port=9001" other ports.

PYTHON ?= python3
VENV ?= .venv
DEMO_FLAGS ?=
PYTEST_FLAGS ?=
# So many run the tests; 0 for this one alone. What stays together is said in tests/conftest.py.
TEST_PROCESSES ?= 2
# What is compiled where there is a C compiler.
EXTENSIONS = setup.py $(wildcard src/hotserve/*/_*.pyx)
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint types tests clean

demo: $(VENV)/.base
	$(VENV)/bin/hotserve demo $(DEMO_FLAGS)

test: lint types tests

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test
	$(VENV)/bin/mypy

tests: $(VENV)/.test
	$(VENV)/bin/python -m pytest --numprocesses=$(TEST_PROCESSES) $(PYTEST_FLAGS)

$(VENV)/bin/python:
	scripts/make_venv.sh "$(PYTHON)" "$(VENV)"

$(VENV)/.base: pyproject.toml $(EXTENSIONS) | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

# The versions that the tests are known to pass with; the package itself asks for ranges.
$(VENV)/.test: pyproject.toml constraints.txt $(EXTENSIONS) | $(VENV)/bin/python
	$(PIP) --editable '.[test]' --constraint constraints.txt
	touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis src/hotserve/*/_*.c src/hotserve/*/_*.so
