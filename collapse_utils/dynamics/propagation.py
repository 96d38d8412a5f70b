"""How errors of stored activations reach the weight gradients of a network, codec by codec, against the law."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from collapse_utils import moments
from collapse_utils.dynamics import compression, residual
from collapse_utils.dynamics.residual import Stored
from collapse_utils.theory import compressed as law

CODECS = {"dithered": 1, "sz3": 1, "rounding": 1, "zfp": 8, "truncation": 1}  # zfp's errors stay far below its bound
SPREAD, FOURTH, SHUFFLED, ALONG, NOISE, BITS = range(6)  # measures of a codec


def inputs(state: dict, rows: tuple[Tensor, Tensor], batch: int, rng: np.random.Generator) -> list[Stored]:
    """Return the layers of the network with this state on a batch of the rows."""
    chosen = rng.permutation(len(rows[1]))[:batch]
    return residual.stored(residual.loaded(state), rows[0][chosen], rows[1][chosen])


def codec_measures(layer: Stored, codec: str, share: float, spread: np.ndarray, rng: np.random.Generator) -> tuple:
    """Return six measures of the noise ΔG of a layer whose input is stored to within a share of its standard deviation.

    Means over entries of (ΔG/law)² and of its square, the first with the errors shuffled among nonzero inputs, ΔG·G/‖G‖²,
    ‖ΔG‖²/‖G‖², bits a value. spread (K, D): the law for errors of rms one; entries below a hundredth of the largest are left out.
    """
    a, kept = layer.input, layer.input != 0
    packed = compression.pack(a, share * a[kept].std() * CODECS[codec], codec, int(rng.integers(2**40)))
    error = compression.unpack(packed) - a
    moved = error.copy()
    moved[kept] = rng.permutation(error[kept])
    off, exact, alive = layer.product(error), layer.product(a), spread > 0.01 * spread.max()
    size = np.sqrt(np.mean(error[kept] ** 2)) * spread[alive]
    z, shuffled, length = off[alive] / size, layer.product(moved)[alive] / size, np.vdot(exact, exact)
    squares = np.mean(z**2), np.mean(z**4), np.mean(shuffled**2)
    return *squares, np.vdot(off, exact) / length, np.vdot(off, off) / length, 8 * packed.nbytes / a.size


def survey(layers: Sequence[Stored], codecs: Sequence[str], shares: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Return the measures of each layer with each codec and bound, in standard deviations of the input: (layers, codecs, shares, 6)."""
    found = []
    for layer in layers:
        spread = law.spread(layer.signal, layer.patches(np.float32(layer.input != 0)), 1.0)
        found.append([[codec_measures(layer, codec, share, spread, rng) for share in shares] for codec in codecs])
    return np.array(found)


def layer_measures(layer: Stored, rng: np.random.Generator) -> tuple:
    """Return the law's mean kurtosis, what its rival predicts over it, squared, ‖ΔG‖² with errors on zeros too over it, and R.

    The rival follows the mean size of the signals in place of their root mean square, up to a constant.
    """
    kept = layer.patches(np.float32(layer.input != 0))
    spread, mean = law.spread(layer.signal, kept, 1.0), np.abs(layer.signal).mean(axis=0)
    alive = spread > 0.01 * spread.max()
    uniform = np.sqrt(3) * rng.uniform(-1, 1, layer.input.shape).astype(np.float32)
    rival = np.mean((np.outer(mean, np.sqrt(kept.sum(axis=0)))[alive] / spread[alive]) ** 2)
    everywhere = np.sum(layer.product(uniform) ** 2) / np.sum(spread**2)
    return law.kurtosis(layer.signal, kept)[alive].mean(), rival, everywhere, np.mean(layer.input != 0)


def fixed_rates(layer: Stored) -> list:
    """Return ‖ΔG‖²/‖G‖² of a layer whose input is stored in 256 levels a channel and in half precision."""
    a = layer.input
    found = [layer.product(b - a) for b in (compression.unpack(compression.levels(a, 8, False)), np.float32(np.float16(a)))]
    exact = layer.product(a)
    return [np.vdot(off, off) / np.vdot(exact, exact) for off in found]


def bits_at(curves: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the bits of curves (…, shares, 6) at noises (…), by interpolation in the noise's logarithm, (…)."""
    pairs = zip(noise.ravel(), curves.reshape(-1, *curves.shape[-2:]), strict=True)
    return np.reshape([np.interp(np.log(n), np.log(c[:, NOISE]), c[:, BITS]) for n, c in pairs], noise.shape)


def spreads(measures: np.ndarray, which: int = SPREAD) -> moments.Moments:
    """Return measured over predicted spread, from measures (networks, stages, batches, layers, 6): a column a stage and layer."""
    return moments.jackknife(measures[..., which].mean(axis=2).reshape(len(measures), -1), np.sqrt)


def kurtoses(measures: np.ndarray) -> moments.Moments:
    """Return the kurtosis of the noise over the law's spread, from measures as spreads takes them, in the same columns."""
    means = measures[..., :2].mean(axis=2).reshape(len(measures), -1, 2)
    return moments.jackknife(means, lambda mean: mean[..., FOURTH] / mean[..., SPREAD] ** 2)


def along(measures: np.ndarray) -> np.ndarray:
    """Return the component of the noise along the gradient over the gradient's length, mean of layers: (networks · batches, stages)."""
    return measures[..., ALONG].mean(axis=-1).swapaxes(1, 2).reshape(-1, measures.shape[1])


def fitted(squares: np.ndarray) -> np.ndarray:
    """Return the roots of squared predictions over measurements (k,), with a factor common to all fitted in logs."""
    return np.sqrt(squares / np.exp(np.log(squares).mean()))
