"""Strided 3 × 3 convolutions as matrix products: on a CPU faster than the library's where maps are small or channels few."""

from functools import cache

import numpy as np
import torch
from torch import nn

THIN = 32  # below as many channels on the image's side the library's kernels are slower than a matrix product
SMALL = 8  # up to this side a whole convolution is one matrix, zeros and all, and no patch is copied


class Linear(nn.Linear):
    """A linear layer, also of several networks at once: x (…, n, a) with weights (…, b, a) and biases (…, b) to (…, n, b)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x Wᵀ + bias."""
        return _affine(x, self.weight, self.bias)


class Down(nn.Conv2d):
    """Conv2d(a, b, 3, stride 2, padding 1) on maps of one side, with the same parameters: (…, n, a, H, H) to (…, n, b, h, h).

    h = ⌈H/2⌉. With weights (…, b, a, 3, 3) and biases (…, b) it is that of several networks at once, below THIN channels.
    """

    def __init__(self, a: int, b: int, side: int):
        super().__init__(a, b, 3, 2, 1)
        self.side, self.half = side, (side + 1) // 2
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolution of x."""
        if x.is_cuda or self.in_channels >= THIN:
            return super().forward(x.contiguous(memory_format=torch.channels_last))
        if self.side <= SMALL:
            bias = self.bias.repeat_interleave(self.half**2, -1)
            return _affine(x.flatten(-3), _matrix(self.weight, self.side), bias).unflatten(-1, (-1, self.half, self.half))
        rows = _Patches.apply(x.movedim(-3, -1).flatten(0, -4)).view(*x.shape[:-4], -1, 9 * self.in_channels)
        weight = self.weight.movedim(-3, -1).flatten(-3).mT.contiguous().mT  # (…, b, 9a), in the order of the faster gradient
        y = _affine(rows, weight, self.bias).view(*x.shape[:-3], self.half, self.half, self.out_channels)
        return y.movedim(-1, -3)


class Up(nn.ConvTranspose2d):
    """The mirror image, ConvTranspose2d(b, a, 3, stride 2, padding 1), from (…, n, b, h, h) up to maps of side H."""

    def __init__(self, b: int, a: int, side: int):
        super().__init__(b, a, 3, 2, 1, 1 - side % 2)
        self.side, self.half = side, (side + 1) // 2
        self.to(memory_format=torch.channels_last)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return the transposed convolution of y."""
        if y.is_cuda or self.out_channels >= THIN:
            return super().forward(y.contiguous(memory_format=torch.channels_last))
        if self.side <= SMALL:
            bias = self.bias.repeat_interleave(self.side**2, -1)
            return _affine(y.flatten(-3), _matrix(self.weight, self.side).mT, bias).unflatten(-1, (-1, self.side, self.side))
        rows = y.movedim(-3, -1).flatten(-4, -2)  # (…, n h h, b)
        weight = self.weight.movedim(-3, -1).flatten(-3).mT.contiguous()  # (…, 9a, b), in the order of the faster gradient
        columns = (rows @ weight.mT).view(-1, self.half, self.half, weight.shape[-2])
        x = _Overlap.apply(columns, self.side).view(*y.shape[:-3], self.side, self.side, self.out_channels)
        return (x + self.bias[..., None, None, None, :]).movedim(-1, -3)


class _Patches(torch.autograd.Function):
    """The 3 × 3 patches around every second pixel of x (n, H, H, C), zeros outside: (n, h, h, 9C)."""

    @staticmethod
    def forward(x):
        return _patches(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.side = inputs[0].shape[1]

    @staticmethod
    def backward(ctx, gradient):
        return _overlap(gradient, ctx.side)


class _Overlap(torch.autograd.Function):
    """The adjoint: patches (n, h, h, 9C) added up where they overlap, (n, H, H, C)."""

    @staticmethod
    def forward(columns, side):
        return _overlap(columns, side)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return _patches(gradient), None


def _patches(x: torch.Tensor) -> torch.Tensor:
    n, side, _, c = x.shape
    h = (side + 1) // 2
    padded = x.new_zeros(n, 2 * h + 1, 2 * h + 1, c)
    padded[:, 1 : side + 1, 1 : side + 1] = x
    image, row, column, _ = padded.stride()
    return padded.as_strided((n, h, h, 3, 3 * c), (image, 2 * row, 2 * column, row, 1)).reshape(n, h, h, 9 * c)


def _overlap(columns: torch.Tensor, side: int) -> torch.Tensor:
    n, h, _, c = columns.shape
    parts, c = columns.reshape(n, h, h, 3, c // 3), c // 9
    padded = columns.new_zeros(n, 2 * h + 1, 2 * h + 1, c)
    image, row, column, _ = padded.stride()
    for k in range(3):  # of each row of a patch the first two pixels lie side by side, the third reaches into the next patch
        pairs = padded.as_strided((n, h, h, 2 * c), (image, 2 * row, 2 * column, 1), k * row)
        pairs += parts[:, :, :, k, : 2 * c]
        padded[:, k : k + 2 * h - 1 : 2, 2::2] += parts[:, :, :, k, 2 * c :]
    return padded[:, 1 : side + 1, 1 : side + 1]


@cache
def _places(side: int) -> np.ndarray:
    """Whether weight k of a 3 × 3 kernel ties place j of the larger map to place i of the smaller one, (9, h², H²).

    No tensor, which would keep the device and the inference mode of the call that made it.
    """
    small, large = np.arange((side + 1) // 2)[:, None], np.arange(side)
    line = np.stack([large == 2 * small + k - 1 for k in range(3)]).astype(np.float32)  # (3, h, H)
    return np.einsum("kiy,ljx->klijyx", line, line).reshape(9, len(small) ** 2, side**2)


def _matrix(weight: torch.Tensor, side: int) -> torch.Tensor:
    """The convolution with weights (…, b, a, 3, 3) as a matrix from the larger maps to the smaller ones, (…, b h², a H²)."""
    places = torch.from_numpy(_places(side)).to(weight)
    spread = (weight.flatten(-2) @ places.flatten(1)).unflatten(-1, places.shape[1:])  # (…, b, a, h², H²)
    return spread.movedim(-3, -2).flatten(-4, -3).flatten(-2)


def _affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return (x @ weight.mT).add_(bias.unsqueeze(-2))
