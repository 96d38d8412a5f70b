# Each verb sets itself up: the environment in .venv is made once and remade when requirements change.
PYTHON ?= python3
VENV := .venv
export SCALE CHAPTER P DECIDE SWEEP EXECUTOR JOBS GPUS A B DATA MODEL TARGET OUT FAIL_IF
RUN = PYTHONPATH="$(CURDIR)" OMP_NUM_THREADS=1 $(VENV)/bin/python -m workflow $@ --scale="$$SCALE" --chapter="$$CHAPTER" --set="$$P" \
	--decide="$$DECIDE" --sweep="$$SWEEP" --executor="$$EXECUTOR" --cores="$$JOBS" --gpus="$$GPUS" --a="$$A" --b="$$B"

KNOWN := PYTHON VENV JOBS $(if $(filter own,$(MAKECMDGOALS)),DATA MODEL TARGET OUT FAIL_IF,SCALE CHAPTER P DECIDE SWEEP EXECUTOR GPUS A B SEEDS KILLS CORES POINTS)
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(KNOWN) COLLAPSE_% SNAKEMAKE_%,$(GIVEN))
$(if $(UNKNOWN),$(error $(UNKNOWN) is no variable of this Makefile; known are: $(KNOWN)))

.PHONY: book read pdf run sweep own compare cost publish test bench nightly clean help

help:            ## say what the verbs do
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*##/\t/'

$(VENV)/.ready: requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11, 3.12 or 3.13 is needed; got {v.major}.{v.minor}; name one, e.g. make PYTHON=python3.11 book")'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (once, a few minutes) …"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

book: $(VENV)/.ready    ## rerun every chapter, judge it, render the book (SCALE=laptop: the pages show that run)
	@$(RUN)

read: $(VENV)/.ready    ## render the book with its published outputs, execute nothing
	@$(RUN)

pdf: $(VENV)/.ready     ## the same in one file, _build/model-collapse.pdf (needs Chromium)
	@$(RUN)

run: $(VENV)/.ready     ## run chapters: make run CHAPTER=linear_models SCALE=smoke P="n_generations=20 seed=3" (DECIDE=10: and again with more replicates where a verdict needs them, in ten minutes at most; EXECUTOR=slurm: on a cluster)
	@$(RUN)

sweep: $(VENV)/.ready   ## run one chapter over many points: make sweep SWEEP=linear_phase (a file of sweeps/, or a path; JOBS=cores, GPUS=runs on a GPU at a time)
	@$(RUN)

own: $(VENV)/.ready     ## your table in the loop: make own DATA=table.csv MODEL=copula TARGET=y OUT=folder FAIL_IF="energy_distance > 2 * null" (all of it: python -m collapse_utils.practice --help)
	@PYTHONPATH="$(CURDIR)" $(VENV)/bin/python -m collapse_utils.practice "$${DATA:?say which table, e.g. make own DATA=wine}" $${MODEL:+"--model=$$MODEL"} \
		$${TARGET:+"--target=$$TARGET"} $${OUT:+"--out=$$OUT"} $${FAIL_IF:+"--fail-if=$$FAIL_IF"} $${JOBS:+"--cores=$$JOBS"}

compare: $(VENV)/.ready ## what differs between two builds of _build/custom: make compare A=smoke-seed=7 B=smoke-seed=8 (no A: what was published)
	@$(RUN)

cost: $(VENV)/.ready    ## what runs will cost, from recorded ones: make cost CHAPTER=linear_models SCALE=laptop P="d=64", or SWEEP=linear_phase
	@$(RUN)

publish: $(VENV)/.ready ## make laptop and smoke runs the published ones: make publish CHAPTER=linear_models, or SWEEP=linear_phase
	@$(RUN)

test: $(VENV)/.ready    ## lint, theory, property, structure and chapter tests, nbval on the light notebooks
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
	@$(NBVAL) --nbval-cell-timeout=300 $(LIGHT)

nightly: $(VENV)/.ready ## all seeds, every notebook re-executed at the scale it was published at, every law bent by a tenth
	@SEEDS=0-99 OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder
	@$(NBVAL) --nbval-cell-timeout=3600 notebooks
	@OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR) $(VENV)/bin/python -m workflow.bending --again && $(VENV)/bin/python -m pytest tests/workflow/test_bending.py

bench: $(VENV)/.ready   ## speed and memory as ratios against a peer in the same run
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest benchmarks/bench_*.py --benchmark-only -q -s --benchmark-columns=min,median,rounds

clean:           ## remove what was built, the environment excepted
	rm -rf .build _build .snakemake

NBVAL = OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR) $(VENV)/bin/python -m pytest --nbval-lax -p no:cacheprovider --nbval-sanitize-with=tests/nbval.cfg
LIGHT := notebooks/solvable/linear_models.ipynb notebooks/solvable/downstream.ipynb
