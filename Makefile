# A fresh machine needs Python 3.11 or newer and make. `make` alone lists what there is.
# Every target builds what it needs in $(VENV) first, and again only when pyproject.toml changes.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= auto
# What pip is to install for PyTorch; its CPU build is much smaller where there is one.
TORCH ?= torch

# Small dense algebra is fastest on one BLAS thread, and times can be compared.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
# Larger data sets, if they lie beside the repository; tests that need them skip without.
NEGOPT_DATA ?= $(wildcard $(CURDIR)/../shared/data)
ifneq ($(NEGOPT_DATA),)
export NEGOPT_DATA
endif

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SPEC := pyproject.toml setup.cfg

.DEFAULT_GOAL := help
.PHONY: help demo test frameworks clients coverage lint format table types layers docstrings review docs asv-smoke check-all clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "negopt needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras: re-runs are quick, a changed pyproject.toml installs again.
$(VENV)/.stamp-core: $(BIN)/python $(SPEC)
	$(PIP) --editable .
	@touch $@
$(VENV)/.stamp-%: $(BIN)/python $(SPEC)
	$(PIP) --editable '.[$*]'
	@touch $@

demo: $(VENV)/.stamp-core ## solve classical problems and train a network, beside SciPy
	@echo; echo "== Classical problems: negopt beside SciPy"
	$(BIN)/python -m negopt compare --problem rosenbrock,wood,strict_saddle,coupled_double_wells --methods lqn-tr,sr1-wolfe-pm,newton-krylov,L-BFGS-B,trust-krylov
	@echo; echo "== A small network on real data (ionosphere, 351 radar returns, shipped with the package)"
	$(BIN)/python -m negopt compare --data ionosphere --hidden 8 --loss logistic --methods dqn-wolfe-pm,newton-krylov,L-BFGS-B
	$(BIN)/python -m negopt train --data ionosphere --hidden 8 --loss logistic --method dqn-wolfe-pm --iterations 200

test: $(VENV)/.stamp-test ## run the tests; the last line is the test runner's summary
	$(BIN)/python -m pytest -n $(JOBS)

$(VENV)/.stamp-frameworks: $(VENV)/.stamp-test
	$(PIP) $(TORCH) jax
	@touch $@

frameworks: $(VENV)/.stamp-frameworks ## the tests that need PyTorch or JAX, which are installed for them
	$(BIN)/python -m pytest -n $(JOBS) tests/neural tests/test_array.py tests/test_experiment_torch.py tests/test_public_api.py

clients: $(VENV)/.stamp-clients ## fits and tests of scikit-learn, statsmodels, lmfit, lifelines, ase, which it installs
	$(BIN)/python -m pytest -n $(JOBS) tests/clients

# Left out is what takes long and reaches next to no line of its own: whole solves by every method, guarantees over
# random problems, experiments, SciPy's own tests, compilation into an empty cache.
coverage: $(VENV)/.stamp-test ## the tests that reach the lines, measured; fails under 95 %
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n $(JOBS) --ignore=tests/guarantees --ignore-glob='*/test_experiment*' \
	  --ignore=tests/compliance/test_solves.py --ignore=tests/compliance/test_resume.py \
	  --ignore=tests/test_users_acceptance.py --ignore=tests/test_threads.py --ignore=tests/test_compiled_linear.py \
	  -k 'not scipys_own_tests and not cold_runs and not precompile_compiles' --cov --cov-report=term

lint: $(VENV)/.stamp-lint ## style, format, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell README.md CHANGELOG.md CONTRIBUTING.md docs negopt tests asv_benchmarks

format: $(VENV)/.stamp-lint ## repair style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

table: $(VENV)/.stamp-core ## write what follows from the table of methods: names in the stub, the README's table
	$(BIN)/python docs/from_table.py

types: $(VENV)/.stamp-lint ## mypy --strict
	$(BIN)/mypy --strict

layers: $(VENV)/.stamp-lint ## imports go down only
	$(BIN)/lint-imports

docstrings: $(VENV)/.stamp-lint ## numpydoc validation of every public docstring
	$(BIN)/numpydoc lint $$(find negopt -name '*.py')

review: $(VENV)/.stamp-lint ## sp-repo-review and the schema of pyproject.toml
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/sp-repo-review .

docs: $(VENV)/.stamp-docs ## build the documentation; a warning is an error
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html

asv-smoke: $(VENV)/.stamp-bench ## every benchmark once, for the defaults, in this environment, without a network
	@test -f ~/.asv-machine.json || $(BIN)/asv machine --config asv_benchmarks/asv.conf.json --yes >/dev/null
	NEGOPT_SMOKE=1 $(BIN)/asv run --config asv_benchmarks/asv.conf.json --quick --python=same --launch-method forkserver --show-stderr

check-all: lint types layers docstrings review docs coverage asv-smoke test frameworks clients ## everything that CI runs

clean: ## remove the environment and all build products
	rm -rf $(VENV) build dist *.egg-info docs/_build docs/generated asv_benchmarks/results asv_benchmarks/html \
	  .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
