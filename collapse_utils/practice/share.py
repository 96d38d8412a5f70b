"""How much real data must be kept: the smallest share whose loss stays within a band, by bisection, with its error and the theory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.isotonic import isotonic_regression

from collapse_utils import moments
from collapse_utils.practice.frames import Frame
from collapse_utils.practice.measures import MEASURES, available, needs
from collapse_utils.practice.study import study
from collapse_utils.theory import gaussian as law

RESOLUTION = 0.05  # of the bracket; the estimate is the crossing of a curve within it


@dataclass(frozen=True)
class Share:
    """The smallest share: an estimate with its standard error over seeds, as Moments, the bracket of the bisection, and what was run.

    runs: share, and mean and standard error of the loss at the horizon over its mean at the first fit, one row a share tried.
    """

    moments: moments.Moments
    low: float
    high: float
    runs: pd.DataFrame

    @property
    def share(self) -> float:
        """The estimate."""
        return float(self.moments.mean[0])


def smallest_share(
    frame: Frame,
    model: str | Callable,
    loss: str,
    band: float,
    *,
    horizon: int = 10,
    n_seeds: int = 10,
    seed: int = 0,
    target: str = "",
    folder: Path | str = "",
    processes: int = 1,
) -> Share:
    """Return the smallest share p of real rows in mixture(p) for which loss at fit `horizon` is at most band times that at fit 1.

    loss: a measure that is not negative and grows as things get worse, such as drift or energy_distance; of one a column, the mean.
    Means over seeds, the same ones at every share, decide the bisection; the crossing of the increasing curve through all shares tried
    is the estimate, and leaving one seed out at a time its error; 0 where no real rows are needed. ValueError where share 1 is not enough.
    """
    if loss not in MEASURES:
        raise ValueError(f"loss: must be one of {', '.join(MEASURES)}; got {loss!r}.")
    if not band > 1:
        raise ValueError(f"band: must be above 1, the loss of the first fit; got {band}.")
    given = {"horizon": horizon, "n_seeds": n_seeds, "target": target, "seed": seed, "folder": folder, "processes": processes}
    tried = {share: _losses(frame, model, loss, share, **given) for share in (0.0, 1.0)}
    if _ratio(tried[1.0]) > band:
        raise ValueError(
            f"band: with real rows alone {loss} is {_ratio(tried[1.0]):.3g} times its first; got {band:g}; allow more."
        )
    low, high = 0.0, float(_ratio(tried[0.0]) > band)  # no real rows may be enough
    while high - low > RESOLUTION:
        tried[middle := (low + high) / 2] = _losses(frame, model, loss, (low + high) / 2, **given)
        low, high = (low, middle) if _ratio(tried[middle]) <= band else (middle, high)
    for share in (max(low - 2 * RESOLUTION, 0.0), min(high + 2 * RESOLUTION, 1.0)):  # a curve on both sides, for the error
        tried[share] = _losses(frame, model, loss, share, **given)
    return _share(dict(sorted(tried.items())), band, low, high)


def _losses(frame, model, loss, share, *, horizon, folder, **given) -> np.ndarray:
    """The loss at the first fit and at the horizon, (seeds, 2)."""
    place = Path(folder) / f"share-{share:g}" if folder else ""
    measures, fits = [MEASURES[loss].group], (1, horizon)
    if loss not in available(frame.columns, len(frame.rows), measures, given["target"]):
        raise ValueError(f"loss: {loss} is not measured on these rows, it needs {needs(loss)}; choose another.")
    run = study(frame, model, regimes=(), shares=[share], n_fits=horizon, fits=fits, measures=measures, folder=place, **given)
    found = run.table[run.table.measure == loss]
    return found.groupby(["seed", "fit"]).value.mean().unstack()[[1, horizon]].to_numpy()


def _share(tried: dict[float, np.ndarray], band: float, low: float, high: float) -> Share:
    shares = np.array(list(tried))
    groups = np.column_stack([next(iter(tried.values()))[:, 0], *(pair[:, 1] for pair in tried.values())])
    found = moments.jackknife(groups, lambda mean: crossing(shares, mean[1:] / mean[0], band))
    ratios = moments.jackknife(groups, lambda mean: mean[1:] / mean[0])
    return Share(found, low, high, moments.frame(ratios, share=shares))


def _ratio(pair: np.ndarray) -> float:
    """The mean loss at the horizon over the mean at the first fit."""
    first, last = pair.mean(axis=0)
    return last / first


def crossing(shares: Sequence[float], ratios: Sequence[float], band: float) -> float:
    """Return where the decreasing curve through (share, ratio), shares ascending, falls to band: straight between shares in 1/ratio.

    The curve is the isotonic regression of the ratios; the first share or the last where it lies wholly below or above the band.
    """
    fitted = isotonic_regression(np.asarray(ratios, float), increasing=False)
    return float(np.interp(-1 / np.asarray(band), -1 / fitted[::-1], np.asarray(shares)[::-1]))


def predicted(loss: str, n_rows: int, horizon: int, band: float, fresh: bool = False) -> float:
    """Return the share by theory for the model gaussian and loss drift, n_rows real rows to begin with; fresh: new real ones each time.

    Drift of the rows of fit n is, in the covariance of the first rows, A_n + V_n/n_rows (theory.gaussian.mixture, divisor n − 1), which
    holds for any law of the data. Straight between whole numbers of rows. Raises ValueError for another loss: theory has none.
    """
    if loss != "drift":
        raise ValueError(f"predicted: theory knows the share for drift; got {loss!r}.")
    low, high = 0, n_rows  # real rows: too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        enough = drift("mixture", horizon, n_rows, middle / n_rows, fresh)[-1] * n_rows <= band
        low, high = (low, middle) if enough else (middle, high)
    shares = [low / n_rows, high / n_rows]
    return crossing(shares, [drift("mixture", horizon, n_rows, share, fresh)[-1] * n_rows for share in shares], band)


def drift(regime: str, n_fits: int, n_rows: int, share: float = np.nan, fresh: bool = False) -> np.ndarray:
    """Return the expected drift of the rows of fits 1 … n_fits of model gaussian, (n_fits,), given the first n_rows; see predicted."""
    if regime == "mixture":
        path = law.mixture(n_fits, n_rows, round(share * n_rows), 1, fresh)
    else:
        path = getattr(law, regime)(n_fits, n_rows, 1)
    return path.error - (0 if fresh else 1 / n_rows) + path.variance / n_rows
