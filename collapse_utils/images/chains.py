"""Loops of autoencoders on the same real images: the seeds of a kind side by side, from first models that all kinds share."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from collapse_utils import regimes, store
from collapse_utils.images import vae
from collapse_utils.images.pictures import Images, thin
from collapse_utils.images.quality import Eyes
from collapse_utils.loop import feedback_loop
from collapse_utils.parallel import cores, each
from collapse_utils.rows import size


@dataclass
class Chains:
    """Runs of n_fits fits under replace, accumulate and a third regime, named as MixingRegime has it.

    Under real_and_last(λ) λ images are drawn for each real one. keep: a folder that keeps every fit, or "". From these follow
    other, the third regime's name, drawn, the images drawn for a real one, mixes {name: regime}, and room, the bytes of a run.
    """

    real: Images
    eyes: Eyes
    fit: vae.VAEFit
    third: str
    n_fits: int
    n_seeds: int
    seed: int = 0
    keep: str = ""
    firsts: dict = field(default_factory=dict)  # {(share, run): the first model}

    def __post_init__(self):
        self.other, _, number = self.third.rstrip(")").partition("(")
        self.drawn = float(number) if self.other == "real_and_last" else 1.0
        third = regimes.mixture(float(number)) if self.other == "mixture" else getattr(regimes, self.other)
        self.mixes = {"replace": regimes.replace, "accumulate": regimes.accumulate, self.other: third}
        self.room = vae.room(self.fit.shape, round(max(self.drawn, 1) * len(self.real.train)), self.n_fits)

    def run(self, kinds: list[tuple]) -> pd.DataFrame:
        """Return a row a fit: regime, temperature, thinned, run, n (from 1) and what evaluate gives.

        kinds: (regime, temperature, share, runs), the longest first; share is that to which class 0 of the real images is
        thinned, 0 for as it is. Runs of one number and share have the same first model, whatever the kind.
        """
        runs = {}
        for _, _, share, part in kinds:
            runs[share] = sorted({*runs.get(share, ()), *part})
        openings = [(share, part) for share in runs for part in self._groups(runs[share], self.n_seeds)]
        jobs = [(*kind, part) for *kind, all_ in kinds for part in self._groups(all_, 2 * self.n_seeds)]
        parts = [part for _, part in openings] + [part for *_, part in jobs]
        processes = cores(self.fit.device)
        with self._kept("", self.fit, [run for part in parts for run in part]):  # all jobs share one disk
            for (share, part), models in zip(openings, each(self.first, openings, processes), strict=True):
                self.firsts |= {(share, run): one for run, one in zip(part, models, strict=True)}
            return pd.DataFrame([row for rows in each(self.chain, jobs, processes) for row in rows])

    def start(self, share: float, part: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Return the real images of some runs."""
        cut = partial(thin, self.real.train, self.real.train_class, 0, share)
        return tuple(cut(np.random.default_rng([self.seed, run])) if share else self.real.train for run in part)

    def first(self, share: float, part: tuple[int, ...]) -> tuple[vae.VAE, ...]:
        """Return the first models of some runs."""
        name = f"first-{share}-{part}"
        with self._kept(name, self._fresh(name), part) as fit:
            return fit(self.start(share, part), np.random.default_rng([self.seed, *part])).models

    def chain(self, regime: str, temperature: float, share: float, part: tuple[int, ...]) -> list[dict]:
        """Return the rows of runs of one kind, side by side."""
        name, begin = f"{regime}-{temperature}-{share}-{part}", self.start(share, part)
        opening = vae.Seeds(tuple(replace(self.firsts[share, run], temperature=temperature) for run in part))
        fresh, rng = self._fresh(name, temperature), np.random.default_rng([7, self.seed, *part])
        kind = {"regime": regime, "temperature": temperature, "thinned": share > 0}

        def fit(data, rng):
            return opening if data is begin else fresh(data, rng)

        fit.load = fresh.load  # models read back are sampled at this temperature too

        def draw(t):
            return round(size(begin) * (self.drawn if regime == self.other else 1))

        with self._kept(name, fit, part) as stored:
            return [
                kind | {"run": run, "n": g.t + 1} | self.evaluate(one, data, np.random.default_rng([self.seed, run, g.t]))
                for g in islice(feedback_loop(stored, begin, self.mixes[regime], rng, draw), self.n_fits)
                for run, one, data in zip(part, g.model.models, g.data, strict=True)
            ]

    def evaluate(self, model: vae.VAE, data: np.ndarray, rng: np.random.Generator) -> dict:
        """Return what a model fitted to data loses on real images, and what its samples are like.

        reconstruction, divergence and their sum loss, in nats an image; look() of 4,000 samples; active, the units of the code
        of a variance above 0.01 over the training images, and spread, their root mean variance; sheet, images of six fixed codes.
        """
        scores, code = model.score(self.real.test), model.codes(data).std(axis=0)
        codes = np.random.default_rng(self.seed).standard_normal((6, len(code)), dtype=np.float32)
        found = {"loss": sum(scores.values()), "active": int((code**2 > 0.01).sum()), "spread": np.sqrt((code**2).mean())}
        return scores | self.eyes.look(model.sample(4000, rng)) | found | {"sheet": model.show(model.temperature * codes)}

    def _groups(self, runs, width: int) -> list[tuple[int, ...]]:
        """Runs that train side by side, where images are small; else one by one."""
        width = width if self.fit.shape.side <= 16 else 1
        return [tuple(runs[i : i + width]) for i in range(0, len(runs), width)]

    def _fresh(self, name: str, temperature: float = 1.0) -> vae.VAEFit:
        state = Path(self.keep) / name / "state.pt" if self.keep else None
        return replace(self.fit, temperature=temperature, checkpoint=state)

    def _kept(self, name: str, fit: Callable, part) -> AbstractContextManager:
        made = f"{self.fit.shape} {self.fit.recipe} {self.fit.likelihood}"
        settings = {"seed": self.seed, "images": self.real.sha256, "n": len(self.real.train), "fit": made}
        how = {"save": vae.Seeds.save, "load": fit.load, "room": len(part) * self.room}
        return store.kept(self.keep, name, fit, settings, **how)
