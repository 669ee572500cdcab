# make demo: from nothing to the table. make ui: MLflow on the runs in STORE (default: the demo).
# make test: the tests that take seconds. make test-slow: those that take minutes (marked slow).
# make docs: the documentation as a site, in build/site; a broken link is an error.
# make lock: pins and hashes anew from setup.cfg, at the versions that stand there as far as they fit; needs uv.
PYTHON ?= python3.11
STORE ?= demo
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow lint docs ui clean install lock

install: .venv/installed

# requirements.lock is what nodes of a cluster install; requirements-dev.lock is the same with tests, linters and docs.
# Both hold for Python 3.11, 3.12 and 3.13: their resolutions are the same, and hashes are those of all wheels. They are
# whole, so pip resolves nothing; and modules that nobody imports need not be compiled.
.venv/installed: requirements.lock requirements-dev.lock setup.cfg
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
	  --no-deps --no-compile -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/python jobs/demo.py --out demo

PYTEST = $(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

test: install
	$(PYTEST) -m "not slow"

test-slow: install
	$(PYTEST) -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install
	$(BIN)/mkdocs build --strict

ui: install
	mkdir -p "$(STORE)"
	folder=$$(realpath "$(STORE)") && MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow server --host 127.0.0.1 --port 5000 \
	  --backend-store-uri "sqlite:///$$folder/mlflow.db" --artifacts-destination "$$folder/mlartifacts"

LOCK = pip compile --quiet setup.cfg --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
  --generate-hashes --custom-compile-command "make lock"

lock:
	uv $(LOCK) --extra aws --output-file requirements.lock
	uv $(LOCK) --extra aws --extra test --extra lint --extra docs --constraints requirements.lock \
	  --output-file requirements-dev.lock

clean:
	rm -rf .venv demo build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
