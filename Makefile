# Everything works from a bare machine: each target makes or mends .venv first (ready).
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
  && echo $$p && break; done)
BIN := .venv/bin
export PYTHONUNBUFFERED := 1
export PYTHONUTF8 := 1
# caches go into the project: a home folder may be read-only
export MPLCONFIGDIR := $(CURDIR)/build/cache/matplotlib
export IPYTHONDIR := $(CURDIR)/build/cache/ipython
.NOTPARALLEL:

.PHONY: help ready run test test-fast test-report lint unit notebooks lab refresh weights bench verdicts publish doctor clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

run: ready  ## execute all notebooks into build/, render the report, print the claims
	@$(BIN)/hw4 run

test: ready  ## lint, unit tests, then every notebook executed and compared
	@$(BIN)/hw4 test

test-fast: ready  ## lint and the fast unit tests: about a minute
	@$(BIN)/hw4 test lint fast

lint unit notebooks: ready
	@$(BIN)/hw4 test $@ $(if $(NOTEBOOKS),--only $(NOTEBOOKS))

test-report: ready  ## the pages of the report in headless Chromium, where there is one
	@$(BIN)/python -m pytest tests/tools/test_offline_html.py

lab: ready  ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir=notebooks

refresh: ready  ## execute the notebooks in place, to commit new outputs
	@$(BIN)/hw4 run --in-place $(NOTEBOOKS)

weights: ready  ## fetch the official float32 ImageNet weights (an option)
	@$(BIN)/python -m hw4.transfer.weights

bench: ready  ## run the side-by-side measurements
	@for script in $(filter-out %/verdicts.py %/pipeline.py,$(wildcard benchmarks/[a-z]*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

verdicts: ready  ## every verdict again for other seeds and installed backends (hours)
	@$(BIN)/python benchmarks/verdicts.py

publish: ready  ## write REPO=owner/name and TAG=... wherever the address stands
	@$(BIN)/python -m hw4.tools.publish "$(REPO)" "$(TAG)"

doctor: ready  ## check this installation
	@$(BIN)/hw4 doctor

clean:  ## remove .venv and everything that was built
	rm -rf .venv .venv.lock build .pytest_cache .ruff_cache .hypothesis

# Everything else begins here: it ends at once where set-up is complete.
ready:
	@version="$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>&1)"; case "$$version" in \
	  3.11|3.12|3.13) ;; \
	  *) echo "PYTHON must be Python 3.11 to 3.13; got $(if $(PYTHON),$(PYTHON),none). Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1;; esac
	@$(PYTHON) setup_env.py
