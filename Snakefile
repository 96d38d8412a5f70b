"""Execute chapters: `snakemake -c4`, `snakemake -c4 --config scale=laptop chapter=linear_models`, or a sweep: `--config sweep=<name>`.

A run's folder is named by a hash of everything that its numbers depend on, so a rule runs exactly when that changed.
"""

import json
import sys

from workflow import chapters, sweeps

SWEEP = sweeps.read(str(config["sweep"])) if "sweep" in config else None
NAMES, SETTINGS = (str(config.get(name, "")) for name in ("chapter", "p"))
RUNS = sweeps.plans(SWEEP) if SWEEP else chapters.planned(config.get("scale", "smoke"), NAMES, SETTINGS)
PLANNED = {run.key: run for run in RUNS}
LIMITS = "".join(f"{name}_NUM_THREADS={{threads}} " for name in ("OMP", "MKL", "OPENBLAS"))  # also where the user set another
STORE = str(config.get("store", ""))  # a place that a storage plugin knows, e.g. s3://bucket/runs
STORED = [f"{STORE}/{run.chapter}/{run.scale}-{run.key}.zip" for run in PLANNED.values()]


def resources_of(wildcards, name, default):
    """A chapter's declared resources at this scale, from scales.yml."""
    return chapters.resources(wildcards.chapter, wildcards.scale).get(name, default)


rule all:
    input:
        [run.folder / "card.json" for run in PLANNED.values()],
        [storage(place) for place in STORED] if STORE else [],


rule execute:
    output:
        card=str(chapters.BUILD / "runs" / "{chapter}" / "{scale}-{key}" / "card.json"),
    benchmark:
        str(chapters.BUILD / "runs" / "{chapter}" / "{scale}-{key}" / "benchmark.tsv")
    params:
        values=lambda wildcards: json.dumps(PLANNED[wildcards.key].overrides),
        python=sys.executable,
    retries: SWEEP.retries if SWEEP else 0
    threads: lambda wildcards: resources_of(wildcards, "threads", 1)
    resources:
        mem_mb=lambda wildcards: resources_of(wildcards, "mem_mb", 2000),
        gpu=lambda wildcards: resources_of(wildcards, "gpu", 0),
    shell:
        LIMITS + "{params.python:q} -m workflow.execute {wildcards.chapter} {wildcards.scale} {wildcards.key} {params.values:q}"


if STORE:

    rule keep:
        localrule: True
        input:
            rules.execute.output.card,
        output:
            storage(STORE + "/{chapter}/{scale}-{key}.zip"),
        params:
            folder=lambda wildcards, input: input[0].removesuffix("/card.json"),
            python=sys.executable,
        shell:
            "{params.python:q} -m zipfile -c {output:q} {params.folder:q}"
