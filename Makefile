# Two commands: `make demo` trains on the built-in cartoon faces, `make test` runs every test. Both install into .venv first.

PYTHON    ?= python3
PIP_FLAGS ?=
N_WORKERS ?= 2

BIN   := .venv/bin
READY := .venv/.installed
HERE  := $(CURDIR)

# The kernel that runs the notebooks is .venv's own, whatever `python3` kernelspec or PYTHONPATH the user has.
unexport PYTHONPATH PYTHONHOME
INSIDE := PATH="$(HERE)/$(BIN):$$PATH" JUPYTER_PATH="$(HERE)/.venv/share/jupyter" JUPYTER_PREFER_ENV_PATH=1

.PHONY: help install demo test lab readme docs paper clean
.DELETE_ON_ERROR:

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{ printf "%-16s%s\n", $$1, $$2 }'

install: $(READY)  ## create .venv and install everything into it

demo: $(READY)  ## train on the built-in cartoon faces (5,000 steps: about 10 minutes on two idle cores, 40 at most) and show where the results are
	@mkdir -p runs/cartoon
	$(INSIDE) papermill --log-output --no-progress-bar nbs/train.ipynb runs/cartoon/train.ipynb -p dataset cartoon
	@echo && echo "numbers : runs/cartoon/metrics.json" && cat runs/cartoon/metrics.json && echo
	@echo "pictures: runs/cartoon/swap.png            who is from the first row, what they do from the second"
	@echo "          runs/cartoon/reconstruction.png"
	@echo "notebook: runs/cartoon/train.ipynb         the whole run (make lab opens JupyterLab)"

test: $(READY)  ## run every notebook and every test
	@failed=; \
	echo "nbdev_test: the notebooks of nbs/"; \
	$(INSIDE) OMP_NUM_THREADS=1 PYTHONFAULTHANDLER=1 nbdev_test --n_workers $(N_WORKERS) --path nbs --timing --do_print || failed=1; \
	echo "pytest: tests/"; \
	$(INSIDE) OMP_NUM_THREADS=1 python -m pytest -q -n $(N_WORKERS) --dist loadfile tests || failed=1; \
	test -z "$$failed"

lab: $(READY)  ## open the notebooks in JupyterLab
	$(INSIDE) jupyter lab --ServerApp.root_dir="$(HERE)" nbs/index.ipynb

readme: $(READY)  ## make README.md and its pictures from nbs/index.ipynb
	$(INSIDE) python .ci/readme.py

paper: $(READY)  ## make the figures and tables of the paper that are not up to date, on data that stand in
	$(INSIDE) diffsda-paper --standin

docs: $(READY)  ## make the documentation site in _docs/, from the notebooks as they are committed
	$(INSIDE) python .ci/docs.py _docs

clean:  ## remove caches and build leftovers (.venv and runs/ stay)
	rm -rf build dist *.egg-info .pytest_cache _proc _docs
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +

# .venv remembers where it was made: in a copied or moved repository it is made anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(HERE))
.PHONY: $(READY)
endif

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "There is no '$(PYTHON)' here: install Python 3.10 or newer, or name yours: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "'$(PYTHON)' is $$($(PYTHON) -V 2>&1), diffsda needs 3.10 or newer: name a newer one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "'$(PYTHON)' comes without its venv module: install it (Debian, Ubuntu: apt-get install python3-venv), then run make again." >&2; exit 1; }
	@echo "installing into .venv (a minute or two; longer where torch comes with CUDA)"
	@test "$$(cat $@ 2>/dev/null)" = "$(HERE)" || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@mkdir -p .venv/etc/ipython && echo "c.IPKernelApp.log_level = 'ERROR'  # a local kernel needs no warning about encryption" > .venv/etc/ipython/ipython_kernel_config.py
	@if [ -d .git ]; then $(MAKE) -s hooks || echo "The notebook hooks of git could not be installed; everything else works."; fi
	@echo "$(HERE)" > $@

# nbdev's git hooks (clean merges of notebooks) and its JupyterLab hook (clean saves). nbdev writes the latter to
# ~/.jupyter: with another HOME it goes to .venv, where it belongs, and git's finds .venv without activation.
.PHONY: hooks
hooks:
	@mkdir -p .venv/etc/jupyter && ln -sfn jupyter .venv/etc/.jupyter
	@GIT_CONFIG_GLOBAL="$$HOME/.gitconfig" HOME="$(HERE)/.venv/etc" $(INSIDE) nbdev_install_hooks >/dev/null
	@sed 's|driver = \(nbdev_merge\)\(.*\)|driver = "if [ -x $(BIN)/\1 ]; then $(BIN)/\1\2; else git merge-file %A %O %B; fi"|' .gitconfig > .gitconfig.new && mv .gitconfig.new .gitconfig
	@printf '#!/bin/sh\n[ ! -x $(BIN)/nbdev_trust ] || $(BIN)/nbdev_trust\n' > .git/hooks/post-merge
