"""Strided 3 × 3 convolutions as matrix products: on a CPU twice as fast as the library's where channels are few."""

import torch
from torch import nn

THIN = 32  # below as many channels on the image's side the library's kernels are slower than a matrix product


class Down(nn.Conv2d):
    """Conv2d(a, b, 3, stride 2, padding 1), with the same parameters: (n, a, H, W) to (n, b, h, w), h = ⌈H/2⌉."""

    def __init__(self, a: int, b: int):
        super().__init__(a, b, 3, 2, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the convolution of x, channels last in memory."""
        if x.is_cuda or self.in_channels >= THIN:
            return super().forward(x.contiguous(memory_format=torch.channels_last))
        rows = _Patches.apply(x.permute(0, 2, 3, 1))  # (n, h, w, 9a)
        weight = self.weight.permute(2, 3, 1, 0).reshape(-1, self.out_channels)  # (9a, b)
        return torch.addmm(self.bias, rows.flatten(0, 2), weight).view(*rows.shape[:3], -1).permute(0, 3, 1, 2)  # (n, b, h, w)


class Up(nn.ConvTranspose2d):
    """The mirror image, ConvTranspose2d(b, a, 3, stride 2, padding 1), from (n, b, h, w) up to sides `side`."""

    def __init__(self, b: int, a: int, side: int):
        super().__init__(b, a, 3, 2, 1, 1 - side % 2)
        self.side = side
        self.to(memory_format=torch.channels_last)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return the transposed convolution of y, channels last in memory."""
        if y.is_cuda or self.out_channels >= THIN:
            return super().forward(y.contiguous(memory_format=torch.channels_last))
        rows = y.permute(0, 2, 3, 1)  # (n, h, w, b)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # (b, 9a)
        columns = (rows.flatten(0, 2) @ weight).view(*rows.shape[:3], -1)  # (n, h, w, 9a)
        return (_Overlap.apply(columns, self.side) + self.bias).permute(0, 3, 1, 2)  # (n, a, H, W)


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

    @staticmethod
    def vmap(info, dims, x):
        return _Patches.apply(x.movedim(dims[0], 0).flatten(0, 1)).unflatten(0, (info.batch_size, -1)), 0


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

    @staticmethod
    def vmap(info, dims, columns, side):
        return _Overlap.apply(columns.movedim(dims[0], 0).flatten(0, 1), side).unflatten(0, (info.batch_size, -1)), 0


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
