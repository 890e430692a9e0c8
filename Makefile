# Two commands do everything on a fresh machine:  make demo   and   make test

VENV := $(CURDIR)/.venv
STAMP := $(VENV)/.installed
export PATH := $(VENV)/bin:$(PATH)
# The linear algebra of pw.x and torch slows down when more threads than cores compete.
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test install lint docs pytest format clean

help:
	@echo 'make demo      quickstart: references, training, prediction of a 48-atom wave (some 10 minutes on 2 free cores)'
	@echo 'make test      everything that continuous integration runs'
	@echo 'make install   only the virtual environment and Quantum ESPRESSO, where they are missing'
	@echo 'make format    correct what ruff can correct'
	@echo 'make docs      build the documentation into docs/_build/html'
	@echo 'make clean     remove the virtual environment, the demo and what was built'

demo: install
	python examples/quickstart.py

test: install lint docs pytest

install: $(STAMP)
	@.ci/install programs

$(STAMP): pyproject.toml .ci/install
	.ci/install environment $(VENV)
	touch $@

lint: install
	ruff check .
	ruff format --check .

docs: install
	sphinx-build -W --keep-going -q -b html docs docs/_build/html

pytest: install
	@.ci/install cluster
	@.ci/install browser
	pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder --durations=15

format: install
	ruff check --fix .
	ruff format .

clean:
	rm -rf $(VENV) .demo docs/_build
