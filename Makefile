# make demo       Take Cover with a DNC, end to end, small: some 4 minutes
# make test       the tests
# make check      the tests, then formatter, linter and type checker
# make check-gpu  every CUDA kernel through NVIDIA's compiler; needs no GPU
# make play       the trained agent in the game and in its dream, as a GIF
# make look       play in that dream yourself, in a browser
# make benchmark  each workload beside its peers
# make wheel      the library as a wheel in dist/, tried in an empty environment
# make clean      remove what was installed and built; data/ stays
# make clean-data remove every cached rollout and every run in data/
#
# The first of them installs everything into .venv. Choose the interpreter or
# another folder on the command line: make test PYTHON=python3.12 VENV=.venv-312
# EXTRAS=dev,gpu adds what a GPU needs. ARGS reaches the script or pytest:
# make test ARGS='-k mixture -x'

VENV ?= .venv
EXTRAS ?= dev
PEERS ?= .venv-peers
TORCH ?= torch>=2
NVRTC ?= .venv-nvrtc
WHEEL ?= .venv-wheel
PYTHON ?=
ARGS ?=
RUN = $(VENV)/bin/python
# a process per core, each with whole files: fixtures of a file are made once
PYTEST = $(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder
export PYTHON VENV EXTRAS

.PHONY: help demo play look test test-all check lint check-gpu format benchmark peers
.PHONY: wheel clean clean-data

help:
	@sed -n '/^# /s/^# //p;/^$$/q' Makefile

$(VENV)/.installed: setup.sh setup.py pyproject.toml constraints.txt
	sh setup.sh

demo: $(VENV)/.installed
	$(RUN) experiments/doom_take_cover.py --model dnc --preset smoke $(ARGS)

play: $(VENV)/.installed
	$(RUN) experiments/play.py $(ARGS)

look: $(VENV)/.installed
	$(RUN) -m chainer_wm.inspector experiments/results/doom_take_cover/agents --serve 8000 $(ARGS)

test: $(VENV)/.installed
	$(PYTEST) -m "not gpu and not slow" $(ARGS)

test-all: $(VENV)/.installed
	$(PYTEST) $(ARGS)

check: test lint

lint: $(VENV)/.installed
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy

# An environment of its own: 300 MB that nothing else needs.
check-gpu: $(NVRTC)/.installed
	$(NVRTC)/bin/python -m pytest -v tests/test_cuda_sources.py $(ARGS)

$(NVRTC)/.installed: setup.sh setup.py pyproject.toml constraints.txt
	VENV=$(NVRTC) EXTRAS=dev,nvrtc sh setup.sh

format: $(VENV)/.installed
	$(RUN) -m ruff check --fix-only --quiet .
	$(RUN) -m ruff format .

benchmark: $(VENV)/.installed
	$(RUN) experiments/benchmark/run.py $(ARGS)

# The environment that tries it knows nothing of this folder (-I).
wheel: $(VENV)/.installed
	rm -rf build dist $(WHEEL)
	$(RUN) -m pip wheel -q --no-deps --no-build-isolation -w dist .
	$(RUN) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install -q -c constraints.txt setuptools wheel numpy
	$(WHEEL)/bin/python -m pip install -q -c constraints.txt --no-build-isolation chainer
	$(WHEEL)/bin/python -m pip install -q -c constraints.txt dist/*.whl
	$(WHEEL)/bin/python -I tests/trials/wheel.py

# The peers live in an environment of their own: one of them is a package
# named dnc too. On Linux the newest PyTorch brings CUDA, several GB; name a CPU
# build, if you know one: make peers TORCH=torch==2.13.0
peers: $(PEERS)/.installed

$(PEERS)/.installed: $(VENV)/.installed
	$(RUN) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install -q 'numpy<2' '$(TORCH)' 'cma>=3' dnc
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) $(NVRTC) $(WHEEL) build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find chainer_wm dnc experiments tests -name __pycache__ -prune \
	    -exec rm -rf {} +

clean-data:
	find data -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
