"""A denoiser of point sets with a graph that turns as its input turns: messages over all pairs, dense, padded, batched."""

import torch
from torch import nn

RADII = 16  # Gaussians in which a distance is expanded


class Layer(nn.Module):
    """One round of messages m_ij = φ(h_i, h_j, |x_i − x_j|, e_ij), and what they do to features and places.

        x_i ← x_i + Σ_j (x_i − x_j)/(|x_i − x_j| + 1) ψ(m_ij),   h_i ← h_i + χ(h_i, Σ_j m_ij)   (Satorras 2021, 2102.09844, Eqs. 3–6)

    The first map of φ is linear in each argument, so that it is done once an atom and not once a pair.
    """

    def __init__(self, hidden: int, edge_features: int):
        super().__init__()
        self.receiver, self.sender = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.pair = nn.Linear(RADII + edge_features, hidden, bias=False)
        self.message, self.move = nn.Linear(hidden, hidden), nn.Linear(hidden, 1, bias=False)
        self.update = nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.act = nn.SiLU()

    def forward(self, h, x, edges, pairs):
        """Return features (B, N, d) and places (B, N, 3) after the round; edges (B, N, N, e), pairs (B, N, N, 1) a mask."""
        reach = torch.sqrt(((x[:, :, None] - x[:, None]) ** 2).sum(-1, keepdim=True) + 1e-8)  # (B, N, N, 1)
        first = self.pair(torch.cat([expand(reach), edges], -1))  # (B, N, N, d)
        first = first + self.receiver(h)[:, :, None] + self.sender(h)[:, None]
        m = self.act(self.message(self.act(first))) * pairs  # (B, N, N, d)
        pull = (self.move(m) / (reach + 1))[..., 0]  # (B, N, N)
        return h + self.update(torch.cat([h, m.sum(2)], -1)), x + x * pull.sum(2, keepdim=True) - pull @ x


def expand(reach: torch.Tensor) -> torch.Tensor:
    """Return Gaussians of distances (…, 1) about RADII centres from 0 to 4 in the network's unit, (…, RADII).

    Eight widths away they are cut off, at 10⁻¹⁴: subnormal numbers would make a training step a third slower.
    """
    step = 4 / (RADII - 1)
    centres = torch.arange(RADII, device=reach.device, dtype=reach.dtype) * step
    return torch.exp(-0.5 * ((reach - centres) / step).clamp(-8, 8) ** 2)


def centred(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return x (B, N, 3) less the mean over the atoms of mask (B, N, 1), zero at the padding."""
    return (x - (x * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)) * mask


class Denoiser(nn.Module):
    """ε̂(x, σ, graph): rotations, reflections and permutations carry over, translations drop out.

    ε̂ = σ x + α Δ, with Δ the centred displacement that the layers make: right for pure noise (α = 0) without training.
    """

    def __init__(self, atom_features: int, edge_features: int, hidden: int = 48, layers: int = 3):
        super().__init__()
        self.atoms, self.level = nn.Linear(atom_features, hidden), nn.Linear(8, hidden)
        self.layers = nn.ModuleList(Layer(hidden, edge_features) for _ in range(layers))

    def forward(self, x, sigma, atoms, edges, mask):
        """Return ε̂ (B, N, 3) for places x (B, N, 3), noise levels σ (B,), features (B, N, a), edges (B, N, N, e), mask (B, N, 1)."""
        x, sigma = centred(x, mask), sigma[:, None, None]
        alpha = torch.sqrt(1 - sigma**2)
        ratio = torch.log(sigma / alpha)  # the time step, as the log of noise to signal
        angles = ratio / 4 * torch.arange(1, 5, device=x.device, dtype=x.dtype)  # (B, 1, 4)
        waves = torch.cat([torch.sin(angles), torch.cos(angles)], -1)
        pairs = mask[:, :, None] * mask[:, None] * (1 - torch.eye(x.shape[1], device=x.device, dtype=x.dtype))[..., None]
        h, y = (self.atoms(atoms) + self.level(waves)) * mask, x
        for layer in self.layers:
            h, y = layer(h, y, edges, pairs)
        return sigma * x + alpha * centred(y - x, mask)
