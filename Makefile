# Two commands: `make demo` and `make test`. Each makes its own environment; neither needs more than Python 3.10, a C
# compiler and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types clean

demo: $(VENV)/demo.stamp
	$(BIN)/babar-tls demo

# pyenv hides its interpreters behind shims that work for one version at a time: show tox the real ones.
test: $(VENV)/tox.stamp
	@PATH="$$(sh tools/interpreters)$$PATH" $(BIN)/tox run $(TOXARGS)

lint types: $(VENV)/tox.stamp
	$(BIN)/tox run -e $@

clean:
	rm -rf $(VENV) .tox build dist *.egg-info

$(VENV)/created.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "babar-tls needs Python 3.10 or later; say which: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/created.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[openssl,cli,demo]'
	@touch $@

$(VENV)/tox.stamp: $(VENV)/created.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox>=4.20'
	@touch $@
