PYTHON ?= python3
VENV := .venv
VENV_OPENMMLAB := .venv-openmmlab
VENV_DOCS := .venv-docs
PYTEST_ARGS ?=

.PHONY: bench demo demo-cls demo-cls-teacher demo-teacher docs docs-serve test-docs test test-openmmlab trust lint env env-openmmlab help

help:            ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/  /' | column -t -s '#'

env:             ## make .venv (onedl stack) if missing or out of date
	@$(PYTHON) requirements/install.py $(VENV) onedl

env-openmmlab:   ## make .venv-openmmlab if missing or out of date
	@$(PYTHON) requirements/install.py $(VENV_OPENMMLAB) openmmlab

# e.g. make demo DETECTOR=retinanet METHODS="kd rank kd+rank fitnet"
demo: env        ## train and compare on handwritten digits, write a report
	@$(VENV)/bin/python tools/demo.py $(if $(DETECTOR),--detector $(DETECTOR)) \
		$(if $(METHODS),--methods $(METHODS))

TEACHER := faster-rcnn_r50-quarter_fpn_digits
demo-teacher: env  ## train the demo's teacher anew (about 25 minutes)
	@$(VENV)/bin/python tools/train.py configs/digits/$(TEACHER).py \
		--cfg-options randomness.seed=0
	@$(VENV)/bin/python tools/export_student.py --half --force \
		work_dirs/$(TEACHER)/epoch_12.pth configs/digits/$(TEACHER).pth

demo-cls: env    ## every logit method on classification, three seeds
	@$(VENV)/bin/python -W ignore tools/demo_cls.py

TEACHER_CLS := resnet14x2_digits-cls
demo-cls-teacher: env  ## train that demo's teacher anew (about 8 minutes)
	@$(VENV)/bin/python tools/train.py configs/digits_cls/$(TEACHER_CLS).py \
		--cfg-options randomness.seed=0
	@$(VENV)/bin/python tools/export_student.py --half --force \
		work_dirs/$(TEACHER_CLS)/epoch_15.pth \
		configs/digits_cls/$(TEACHER_CLS).pth

test: env        ## run the tests on the onedl stack
	@$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

test-openmmlab: env-openmmlab  ## run the same tests on OpenMMLab's packages
	@$(VENV_OPENMMLAB)/bin/python -m pytest $(PYTEST_ARGS)

trust: env       ## kills, faults, strangers' files: one table (about 30 minutes)
	@$(VENV)/bin/python tests/trust/run.py

bench: env       ## time and memory of loss, step and data (about 15 minutes)
	@$(VENV)/bin/python -W ignore benchmarks/loss.py
	@$(VENV)/bin/python -W ignore benchmarks/step.py
	@$(VENV)/bin/python -W ignore benchmarks/data.py
	@$(VENV)/bin/python -W ignore benchmarks/crd.py
	@$(VENV)/bin/python benchmarks/plot.py

lint: env        ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy mmdet_rankkd

$(VENV_DOCS)/set-up-done: requirements/docs.txt
	@$(PYTHON) -m venv --clear $(VENV_DOCS)
	@$(VENV_DOCS)/bin/python -m pip --disable-pip-version-check install \
		--quiet --requirement requirements/docs.txt
	@touch $@

MKDOCS := NO_MKDOCS_2_WARNING=1 $(VENV_DOCS)/bin/mkdocs
docs: $(VENV_DOCS)/set-up-done  ## build the site into site/, strictly
	@$(MKDOCS) build --strict --quiet

docs-serve: $(VENV_DOCS)/set-up-done  ## show the site at http://127.0.0.1:8000
	@$(MKDOCS) serve

# Without the settings and fixtures of tests/, which need the whole stack.
test-docs: $(VENV_DOCS)/set-up-done  ## the built site in a browser, where one is
	@$(VENV_DOCS)/bin/python -m pytest -q -p no:cacheprovider -rs \
		--override-ini addopts= docs/extensions
