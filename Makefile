# make run: install and open the web app, building the `laptop` recipe beside it.  make test: install and run all checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= auto  # auto: a CPU build without an NVIDIA card; cpu; default: what pip offers
.PHONY: run install install-dev test check wheel upgrade bench clean

# scripts/install.py says in one line what is missing: a newer Python, the venv module, disk, network.
INSTALL = @command -v $(PYTHON) >/dev/null || \
	{ echo "there is no $(PYTHON); name a Python, 3.11 or newer: make PYTHON=python3.12"; exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "kaiwa needs Python 3.11 or newer; this is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }; \
	$(PYTHON) scripts/install.py --venv $(VENV) --torch $(TORCH)

# Scripts of an environment have its path: after a move of this folder, or without its Python, it is installed again.
STALE := $(shell [ ! -e $(VENV)/.installed ] || \
	{ [ "$$(cat $(VENV)/.installed)" = "$$(pwd -P)" ] && $(BIN)/python -c pass; } 2>/dev/null || \
	rm -f $(VENV)/.installed $(VENV)/.installed-dev)

run: install
	$(BIN)/kaiwa up --build laptop

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml requirements.lock
	$(INSTALL) --extras train,web
	@pwd -P >$@

$(VENV)/.installed-dev: pyproject.toml requirements.lock
	$(INSTALL) --extras train,web,dev
	@pwd -P >$(VENV)/.installed
	@touch $@

check: install-dev
	$(BIN)/python -m ruff format --check kaiwa tests bench scripts
	$(BIN)/python -m ruff check kaiwa tests bench scripts
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest tests/test_layers.py

test: check
	$(BIN)/python -m pytest tests -m "not browser and not install" -n 2 --dist loadfile
	$(BIN)/python -m pytest tests -m browser
	$(BIN)/python -m pytest tests -m install
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 CXX=none $(BIN)/python -m pytest tests -m masked

# The wheel and the source distribution, in dist/.
wheel: install-dev
	$(BIN)/python -m build --outdir dist

# Renew the locked versions; commit requirements.lock once `make test` passes with it.
upgrade: install-dev
	$(BIN)/python -m pip install --quiet --upgrade uv
	$(BIN)/python -m uv pip compile pyproject.toml --upgrade --all-extras --universal --python-version 3.11 --no-annotate \
		--strip-extras --no-emit-package kaiwa --custom-compile-command "make upgrade" --output-file requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache build dist
