# Everything goes into .venv: no system package is touched. Needs make and Python 3.11 or newer.
.POSIX:
.PHONY: help setup demo test check clean

PYTHON ?= python3
VENV = .venv
# Made last, so that an interrupted installation is taken up again.
STAMP = $(VENV)/.installed

help:
	@echo 'make demo              train on a simulated healthy machine, export, replay a bearing fault, show the alarm'
	@echo 'make demo DATA=folder  the same with your recordings: folder/normal and folder/faulty'
	@echo 'make test              run the tests'
	@echo 'make check             lint, formatting and types'
	@echo 'make setup             only the virtual environment in $(VENV) that the others use'
	@echo 'make clean             remove $(VENV), demo_output and caches'
	@echo 'PYTHON=python3.12 make ...  chooses the Python (3.11 or newer)'

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: there is no $(PYTHON). On Debian or Ubuntu:" \
	  "sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("make: $(PYTHON) is Python %d.%d, and" \
	  " 3.11 or newer is needed. Name one: make PYTHON=python3.12 ..." % v[:2])'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "make: $(PYTHON) cannot make virtual environments." \
	  "On Debian or Ubuntu: sudo apt-get install" \
	  "$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }
	@echo 'Installing into $(VENV), once: a few minutes, about 2 GB on disk.'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation \
	  -e '.[cpu,train,export,dev]'
	@touch $(STAMP)

demo: $(STAMP)
	@$(VENV)/bin/python scripts/demo.py $${DATA:+"$$DATA"}

test: $(STAMP)
	@scripts/test

check: $(STAMP)
	@scripts/check

clean:
	rm -rf $(VENV) demo_output build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
