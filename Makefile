# make demo: from nothing to the table. make test: the tests. make ui: MLflow on the runs in STORE (default: the demo).
PYTHON ?= python3.11
STORE ?= demo
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint ui clean install

install: .venv/installed

.venv/installed: requirements.lock setup.cfg
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/python jobs/demo.py --out demo

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: install
	mkdir -p "$(STORE)"
	folder=$$(realpath "$(STORE)") && MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow server --host 127.0.0.1 --port 5000 \
	  --backend-store-uri "sqlite:///$$folder/mlflow.db" --artifacts-destination "$$folder/mlartifacts"

clean:
	rm -rf .venv demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
