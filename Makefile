# Every target prepares .venv by itself. Choose the interpreter with PYTHON=python3.12.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
STAMP := $(VENV)/.installed
# Stages are started as `python`, so the environment's own stands first.
export PATH := $(abspath $(VENV))/bin:$(PATH)
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY := false
export PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS := false
export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT := false
# A busy machine needs more than the default 20 seconds.
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS := 120

PYTEST := python -m pytest -n 2 --dist loadfile
TOY := weights/toy

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(STAMP) ## the environment in .venv, from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "error: $(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 2; }
	@[[ -x $(VENV)/bin/python ]] || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps --editable .
	@touch $@

.PHONY: repro
repro: $(STAMP) ## reproduce the pipeline (dvc repro), then print metrics and report
	@python -m pipelines.lock
	dvc repro
	@dvc metrics show --md metrics.json
	@echo "Report: $(CURDIR)/report/index.html"

.PHONY: flow
flow: $(STAMP) ## the same by Prefect in a fresh clone; ARGS="--override train.epochs=4"
	python -m pipelines.reproduce $(ARGS)

.PHONY: smoke
smoke: $(STAMP) ## the last commit's pipeline with params/smoke.yaml, in a clone that is deleted
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	git clone --quiet . "$$folder/clone"; cd "$$folder/clone"; \
	python -m pipelines.profile smoke; \
	PYTHONPATH=. dvc repro

.PHONY: plan
plan: $(STAMP) ## the stages in order, what they would fetch, and what a person has to place
	@dvc repro --dry --force --allow-missing | grep '^>'
	@python -m stages.dataset --dry-run
	@python -m stages.weights --dry-run

.PHONY: profile
profile: $(STAMP) ## apply params/NAME.yaml to params.yaml: make profile NAME=hico
	@python -m pipelines.profile $(NAME)

.PHONY: test
test: $(STAMP) ## fast tests
	OMP_NUM_THREADS=1 $(PYTEST)

.PHONY: test-slow
test-slow: $(STAMP) ## slow tests
	OMP_NUM_THREADS=1 $(PYTEST) -m 'slow and not gpu'

.PHONY: mutants
mutants: $(STAMP) ## break the code on purpose, one line at a time; a fast test must catch each
	python tests/mutants/run.py

JOBS ?= 2
KILLS ?= 100
TRAINING_KILLS ?= 20
LIMIT_MINUTES ?= 90
METHOD ?= hoiclip
PROCESSES ?= 1

.PHONY: kills
kills: $(STAMP) ## SIGKILL the smoke pipeline at random moments; its result must stay the same; METHOD=, PROCESSES=
	python tests/kills/kill_runs.py --method $(METHOD) --processes $(PROCESSES) \
	  --kills $(KILLS) --training-kills $(TRAINING_KILLS) --limit-minutes $(LIMIT_MINUTES) \
	  --jobs $(JOBS) --log tests/kills/log-$(METHOD)-$(PROCESSES).txt

INPUTS ?= 50000
SEED ?= 0

.PHONY: fuzz
fuzz: $(STAMP) ## damaged inputs: each a result or one typed line; make fuzz INPUTS=500 SEED=1 JOBS=4
	python tests/fuzz/run.py --inputs $(INPUTS) --seed $(SEED) --jobs $(JOBS) --log tests/fuzz/log.json

.PHONY: check
check: $(STAMP) ## style, format and types
	ruff check .
	ruff format --check .
	mypy

.PHONY: pretrain-toy
pretrain-toy: $(STAMP) ## train the toy CLIP and the toy detector anew, into weights/toy
	python -m hoiclip.pretraining.clip --out $(TOY)/clip.safetensors
	python -m hoiclip.pretraining.detector --out $(TOY)/detector.safetensors

# Results that are known are not computed again; ARGS="--jobs 1", ARGS="--only row=base", ARGS=--dry.
SWEEP := python -m pipelines.run_sweep

.PHONY: ablation
ablation: $(STAMP) ## the rows of the paper's ablation over seeds, results/ablation.json
	$(SWEEP) ablation $(ARGS)

.PHONY: seeds
seeds: $(STAMP) ## the pipeline's result over training seeds, results/seeds.json
	$(SWEEP) seeds $(ARGS)

.PHONY: honesty
honesty: $(STAMP) ## what the toy world gives without CLIP, to CLIP alone, and with more time
	$(SWEEP) honesty $(ARGS)

.PHONY: distillation
distillation: $(STAMP) ## label-free distillation beside its teacher, results/distillation.json
	$(SWEEP) distillation $(ARGS)

# One at a time: of stages side by side the CPU time would not be their own.
.PHONY: methods
methods: $(STAMP) ## train each method anew: what it reaches and its CPU time, results/methods.json
	$(SWEEP) methods --jobs 1 $(ARGS)

# On a machine that does nothing else; ARGS="--only crops", ARGS=--quick.
.PHONY: benchmarks
benchmarks: $(STAMP) ## time and memory of every method, of crops and of the pipeline, benchmarks/results
	python -m benchmarks.all $(ARGS)
