"""Activations stored compressed between forward and backward pass: codecs, and torch's saved tensors in their hands.

Zeros stay zeros and nonnegative values above zero stay above zero, in every codec: a mask of one bit a value, itself
compressed, goes beside the values. So a rectifier's backward pass is exact, and only weight gradients feel the errors.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

PACKAGES = {  # what each codec is made of
    "dithered": "blosc2",  # rounding with subtractive dither, then Zstandard
    "rounding": "blosc2",  # the same without dither
    "sz3": "pysz",
    "zfp": "zfpy",
    "truncation": "blosc2",  # of the mantissa, its filter TRUNC_PREC
    "signs": "blosc2",  # the mask alone: enough for what only a rectifier reads
    "levels": "numpy",  # as many levels in every channel, without an entropy coder
}
TINY = np.float32(1e-30)


def dithered(x: np.ndarray, step: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of x (…), rounded to multiples of step after a dither uniform on ± step/2 was added, and the dither.

    codes · step − dither differs from x by an error uniform on ± step/2 and independent of x.
    """
    dither = np.random.Generator(np.random.SFC64(seed)).random(x.shape, np.float32)
    dither = np.float32(step) * (dither - np.float32(0.5))
    return np.rint((x + dither) / np.float32(step)).astype(np.int32), dither


@dataclass(frozen=True)
class Packed:
    """A compressed tensor: its codec and shape, the mask of what is not zero (none: all is), the values, what unpacks them."""

    codec: str
    shape: tuple[int, ...]
    mask: bytes
    values: bytes
    detail: tuple
    positive: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the mask, the values and 8 a number of detail."""
        return len(self.mask) + len(self.values) + 8 * len(self.detail)


def library(codec: str):
    """Return the module that a codec needs. Raises ValueError for an unknown codec or one that is not installed."""
    if codec not in PACKAGES:
        raise ValueError(f"codec: must be one of {', '.join(PACKAGES)}; got {codec!r}.")
    try:
        return importlib.import_module(PACKAGES[codec])
    except ImportError:
        raise ValueError(f"codec: {codec} needs {PACKAGES[codec]}, not installed; run `pip install {PACKAGES[codec]}`.") from None


def pack(x: np.ndarray, bound: float, codec: str, seed: int = 0) -> Packed:
    """Return float32 activations x (…) with errors within ± bound on what is not zero; seed is that of the dither.

    Raises ValueError for an unknown codec or one not installed, a bound that is not positive, NaN or infinite values (zfp
    would make finite ones of them), and where zfp misses the bound.
    """
    library(codec)
    if not bound > 0:
        raise ValueError(f"bound: must be above 0, the largest error of a value; got {bound:g}.")
    if not np.isfinite(x).all():
        raise ValueError(f"activations: must be finite; got {np.count_nonzero(~np.isfinite(x))} that are not: lower the rate.")
    kept = x != 0
    values, detail = _ENCODERS[codec](x, kept, float(bound), seed) if kept.any() and codec != "signs" else (b"", ())
    return Packed(codec, x.shape, _shrunk(np.packbits(kept)), values, detail, bool(x.min(initial=0) >= 0))


def levels(x: np.ndarray, bits: int, zeros: bool) -> Packed:
    """Return nonnegative activations x (N, C, …) at a fixed rate: 2^bits levels from zero to the largest value of a channel.

    What is not zero gets the first level at least. zeros: a mask says where they are, and the other values alone are stored.
    """
    others = tuple(i for i in range(x.ndim) if i != 1)
    top = x.max(axis=others, keepdims=True)
    kept = x != 0
    codes = np.maximum(np.rint(x * ((2**bits - 1) / np.maximum(top, TINY))), kept).astype(np.uint16)
    written = codes[kept] if zeros else codes.ravel()
    planes = (written[:, None] >> np.arange(bits, dtype=np.uint16)).astype(np.uint8) & 1
    mask = _shrunk(np.packbits(kept)) if zeros else b""
    return Packed("levels", x.shape, mask, np.packbits(planes).tobytes(), (bits, *top.ravel().tolist()), zeros)


def unpack(packed: Packed) -> np.ndarray:
    """Return the values of a packed tensor, float32; zeros and signs of nonnegative tensors as they were."""
    kept = np.ones(packed.shape, bool)
    if packed.mask:
        raw = np.frombuffer(_expanded(packed.mask), np.uint8)
        kept = np.unpackbits(raw, count=kept.size).astype(bool).reshape(packed.shape)
    x = np.zeros(packed.shape, np.float32)
    if packed.values:
        x[kept] = _DECODERS[packed.codec](packed, kept)
    return np.where(kept & (x <= 0), TINY, x) if packed.positive else x


def _shrunk(array: np.ndarray, level: int = 1, **options) -> bytes:
    """Bytes of an array by Zstandard, on one thread; typesize is that of its numbers, without which filters spoil them."""
    blosc2 = library("signs")
    return blosc2.compress2(array, typesize=array.itemsize, codec=blosc2.Codec.ZSTD, clevel=level, nthreads=1, **options)


def _expanded(raw: bytes) -> bytes:
    return library("signs").decompress2(raw, nthreads=1)


def _codes(codes: np.ndarray) -> bytes:
    """Codes in the smallest integers that hold them; few different ones bit by bit."""
    most = int(np.abs(codes).max())
    kind = np.int8 if most < 128 else np.int16 if most < 2**15 else np.int32
    blosc2 = library("signs")
    return _shrunk(codes.astype(kind), filters=[blosc2.Filter.BITSHUFFLE if most < 5 else blosc2.Filter.SHUFFLE])


def _codes_back(packed: Packed, kept: np.ndarray) -> np.ndarray:
    raw = _expanded(packed.values)
    return np.frombuffer(raw, f"i{len(raw) // np.count_nonzero(kept)}")


def _dithered(x, kept, bound, seed):
    return _codes(dithered(x[kept], 2 * bound, seed)[0]), (bound, seed)


def _dithered_back(packed, kept):
    bound, seed = packed.detail
    _, dither = dithered(np.zeros(np.count_nonzero(kept), np.float32), 2 * bound, seed)
    return _codes_back(packed, kept) * np.float32(2 * bound) - dither


def _rounding(x, kept, bound, seed):
    v = x[kept]
    return _codes((np.sign(v) * np.ceil(np.abs(v) / (2 * bound))).astype(np.int32)), (bound,)  # k: from 2(k − 1)b to 2kb


def _rounding_back(packed, kept):
    codes = _codes_back(packed, kept).astype(np.float32)
    return (2 * codes - np.sign(codes)) * np.float32(packed.detail[0])  # the middle


def _sz3(x, kept, bound, seed):
    from pysz import sz, szConfig, szErrorBoundMode

    config = szConfig()
    config.errorBoundMode, config.absErrorBound = szErrorBoundMode.ABS, bound
    return bytes(sz.compress(x[kept], config)[0]), ()


def _sz3_back(packed, kept):
    from pysz import sz

    return sz.decompress(np.frombuffer(packed.values, np.uint8), np.float32, (int(kept.sum()),))[0]


def _zfp(x, kept, bound, seed):
    zfpy = library("zfp")
    x = x if x.ndim <= 4 else x.reshape(-1, *x.shape[-3:])
    found = zfpy.compress_numpy(np.ascontiguousarray(x), tolerance=bound)
    off = np.abs(zfpy.decompress_numpy(found) - x).max()
    if off > bound:
        raise ValueError(f"zfp: errors must stay within the bound {bound:g}; got {off:.3g}: sizes differ too much, take sz3.")
    return found, ()


def _zfp_back(packed, kept):
    return library("zfp").decompress_numpy(packed.values).reshape(packed.shape)[kept]


def _truncation(x, kept, bound, seed):
    blosc2 = library("truncation")
    bits = int(np.clip(np.ceil(np.log2(np.abs(x).max() / bound)), 1, 23))  # of the mantissa: errors below max · 2^-bits
    filters = [blosc2.Filter.TRUNC_PREC, blosc2.Filter.SHUFFLE]
    return _shrunk(x[kept], 5, filters=filters, filters_meta=[bits, 0]), ()


def _truncation_back(packed, kept):
    return np.frombuffer(_expanded(packed.values), np.float32)


def _levels_back(packed, kept):
    bits, *top = packed.detail
    planes = np.unpackbits(np.frombuffer(packed.values, np.uint8), count=np.count_nonzero(kept) * bits).reshape(-1, bits)
    return planes @ (2.0 ** np.arange(bits)) * np.asarray(top)[np.nonzero(kept)[1]] / (2**bits - 1)


_ENCODERS = {"dithered": _dithered, "rounding": _rounding, "sz3": _sz3, "zfp": _zfp, "truncation": _truncation}
_DECODERS = {
    "dithered": _dithered_back, "rounding": _rounding_back, "sz3": _sz3_back, "zfp": _zfp_back, "truncation": _truncation_back,
    "levels": _levels_back,
}  # fmt: skip


class Saved:
    """A context in which torch saves activations compressed for the backward pass, and counts what it saves.

    store(i, x) packs the i-th activation x (numpy) and returns a Packed, or anything with nbytes that unpack() knows, or None
    to keep it. Only float32 tensors of `least` values or more are offered, parameters and `inputs` never; one that two
    operations save in turn, as a rectifier and the layer behind it do, is stored once.
    """

    def __init__(self, store: Callable, inputs: tuple = (), least: int = 4096):
        self.store, self.least, self.inputs = store, least, {t.data_ptr() for t in inputs}
        self.plain, self.bytes, self.stored, self._last, self._open = [], 0, [], (None, None), (None, None)
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    def __enter__(self) -> "Saved":
        self._hooks.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._last = (None, None)
        self._hooks.__exit__(*error)

    @property
    def ratio(self) -> float:
        """Bytes of the activations that were stored compressed, before over after."""
        return sum(self.plain) / sum(item.nbytes for item in self.stored)

    def _pack(self, tensor):
        if isinstance(tensor, torch.nn.Parameter) or tensor.data_ptr() in self.inputs:
            return tensor
        before, item = self._last  # held until the next one comes, so that its address is its own
        if before is not None and before.data_ptr() == tensor.data_ptr() and before.shape == tensor.shape:
            return item
        item = tensor
        if tensor.dtype == torch.float32 and tensor.numel() >= self.least:
            found = self.store(len(self.stored), tensor.detach().numpy())
            if found is not None:
                item = found
                self.stored.append(found)
                self.plain.append(4 * tensor.numel())
        self.bytes += item.nbytes
        self._last = (tensor, item)
        return item

    def _unpack(self, item):
        if not isinstance(item, Packed):
            return item
        if self._open[0] is not item:  # the layer behind a rectifier asks first, then the rectifier
            self._open = (item, torch.from_numpy(unpack(item)))
        return self._open[1]
