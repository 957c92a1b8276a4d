# demo and test are all a newcomer needs: they set themselves up in .venv, with uv where present.
.POSIX:
PYTHON = python3
BIN = .venv/bin
TESTS = tests

help:
	@echo "make demo      set up (about 580 MB in .venv) and take the tour, 1 to 3 minutes"
	@echo "make test      set up for development and run the tests"
	@echo "make lint validate bench bench-peers docs      for contributors; see CONTRIBUTING.md"

demo: .venv/demo
	@$(BIN)/trialsim demo

test: .venv/dev
	$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

validate: .venv/dev
	PYTHONPATH=tests TRIALSIM_EXAMPLES=500 TRIALSIM_MOMENTS=10 $(BIN)/python -m pytest -p reference_numbers -n auto --dist worksteal tests validation

bench: .venv/dev
	$(BIN)/python -m pytest benchmarks --benchmark-columns=min,median,max,rounds --benchmark-group-by=group
	$(BIN)/python benchmarks/cost_curve.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/adding_an_endpoint.py
	$(BIN)/python benchmarks/app_speed.py

# The same designs in rpact and Mediana, where R and they are installed.
bench-peers: .venv/dev
	$(BIN)/python benchmarks/peers/compare.py

# Everything in docs/ and protocols/schema/ that a command makes, then the site in site/.
docs: .venv/dev
	$(BIN)/python docs/build.py

# Lessons and rooms in one file, as `trialsim app --export` hands it on.
precompute: .venv/dev
	$(BIN)/python -m trialsim.app.offline

.venv/demo: pyproject.toml requirements/demo.txt
	@echo "trialsim: setting up in .venv (about 580 MB, 1 to 2 minutes); nothing is written outside this folder."
	@PYTHON=$(PYTHON) sh requirements/set-up.sh demo
	@touch $@

.venv/dev: pyproject.toml requirements/dev.txt
	@echo "trialsim: setting up for development in .venv (about 1,250 MB, 1 to 3 minutes)."
	@PYTHON=$(PYTHON) sh requirements/set-up.sh dev
	@touch .venv/demo $@

clean:
	rm -rf .venv build dist site

.PHONY: help demo test lint validate bench bench-peers docs precompute clean
