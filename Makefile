# make train | test | docs | dist | test-fast | test-exhaustive | test-lowest | torture | reproduce | figures | lint | benchmark | scaling | clients | clean. The first call of any builds .venv; nothing else is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
TRIAL := .venv-dist
LOWEST_TESTS := tests/test_dependencies.py tests/test_env.py tests/test_evaluators.py tests/tasks tests/experiment/test_arguments.py tests/experiment/test_figures.py tests/studies/test_statistics.py tests/studies/test_tuning.py tests/experiment/test_sb3_runs.py tests/experiment/test_tracking.py
STUDIES := $(patsubst %/study.toml,%,$(sort $(wildcard runs/studies/*/study.toml)))
# Networks this small are fastest with one thread, which tests/conftest.py gives each test process. What the tests
# start has torch's default number, as on a user's machine; a thread without work must sleep there instead of spin.
train dist test-fast test-exhaustive test-lowest torture reproduce figures benchmark scaling clients: export OMP_NUM_THREADS ?= 1
test: export OMP_WAIT_POLICY ?= passive

.PHONY: train test docs dist test-fast test-exhaustive test-lowest torture reproduce figures lint benchmark scaling clients clean

train: $(VENV)/ready
	$(BIN)/formula-env train seqgan --task binary-sum --task.length 8 --seed 0

test: $(VENV)/ready
	$(BIN)/pytest -n auto --dist worksteal

# In less than 90 seconds: all but whole trainings, processes and the recorded studies.
test-fast: $(VENV)/ready
	$(BIN)/pytest -n auto --dist worksteal -m "not slow and not exhaustive" --hypothesis-profile quick

# Tens of thousands of formulae against SymPy, and what repeats a law that another test has.
test-exhaustive: $(VENV)/ready
	$(BIN)/pytest -n auto --dist worksteal -m exhaustive

# With exactly the lowest versions that pyproject.toml allows: tests that use each of them.
test-lowest: $(LOWEST)/ready
	LOWEST_VERSIONS=1 $(LOWEST)/bin/python -m pytest -n auto --hypothesis-profile quick -p no:cacheprovider -k "not goes_on_as_if and not hangs and not survives" $(LOWEST_TESTS)

# Kills, failing writes and damaged files, in less than ten minutes; the result goes into benchmarks/torture.json.
torture: $(VENV)/ready
	$(BIN)/python -m tests.torture

# Every study anew, beside the records: over two hours on two cores. The same call goes on with it.
reproduce: $(VENV)/ready
	$(BIN)/formula-env study $(STUDIES) --out runs/reproduction
	$(BIN)/formula-env report $(STUDIES:runs/studies/%=runs/reproduction/%)

figures: $(VENV)/ready
	$(BIN)/formula-env figures --replace $(STUDIES)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The documentation as a site, in site/; a link that leads nowhere fails.
docs: $(VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Wheel and source distribution in dist/, each tried in a fresh environment of $(PYTHON), outside of the sources.
dist: $(VENV)/ready
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	for file in dist/*; do \
	  rm -rf $(TRIAL) && $(PYTHON) -m venv $(TRIAL) && \
	  $(TRIAL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0 $$file && \
	  (cd $(TRIAL) && bin/formula-env --version && bin/formula-env train mle --algo.rounds 50 --out trial && bin/formula-env sample trial -n 3) || exit 1; \
	done
	rm -rf $(TRIAL)

benchmark: $(VENV)/ready
	$(BIN)/python -m benchmarks.rollouts
	$(BIN)/python -m benchmarks.environment

scaling: $(VENV)/ready
	$(BIN)/python -m benchmarks.scaling

# Every foreign client on every task, reward model and observation; makes virtual environments of several GB.
clients: $(VENV)/ready
	$(BIN)/python -m benchmarks.clients

clean:
	rm -rf $(VENV) $(LOWEST) $(TRIAL) build dist site *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m tests.chromium || echo 'no browser could be had: the tests that look at pages are left out, or fail where REQUIRE_BROWSER is set'
	touch $@

$(LOWEST)/ready: pyproject.toml constraints.txt constraints-lowest.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt torch==2.13.0
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt setuptools
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --no-build-isolation --editable . $(shell grep -E '^(hypothesis|pytest|pytest-xdist)==' constraints.txt)
	touch $@
