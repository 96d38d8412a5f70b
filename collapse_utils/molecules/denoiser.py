"""A denoiser of point sets with a graph that turns as its input turns: messages over all pairs, padded, batched."""

from functools import lru_cache

import torch
from torch import nn
from torch.amp import custom_bwd, custom_fwd
from torch.nn.functional import silu

RADII = 16  # Gaussians in which a distance is expanded
STEP = 4 / (RADII - 1)  # between their centres, and their width, in the network's unit
SHUT = -1e3  # silu(SHUT) = 0, and so is its derivative: a message that is not sent


class Layer(nn.Module):
    """One round of messages m_ij = φ(h_i, h_j, |x_i − x_j|, e_ij), and what they do to features and places.

        x_i ← x_i + Σ_j (x_i − x_j)/(|x_i − x_j| + 1) ψ(m_ij),   h_i ← h_i + χ(h_i, Σ_j m_ij)   (Satorras 2021, 2102.09844, Eqs. 3–6)

    The first map of φ is linear in each argument, so that it is done once an atom, and once for both directions of a pair. The
    last round has no χ, as nothing reads its features.
    """

    def __init__(self, hidden: int, edge_features: int, last: bool = False):
        super().__init__()
        self.receiver, self.sender = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.pair = nn.Linear(RADII + edge_features, hidden, bias=False)
        self.message, self.move = nn.Linear(hidden, hidden), nn.Linear(hidden, 1, bias=False)
        self.update = None if last else nn.Sequential(nn.Linear(2 * hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, h, x, edges, absent):
        """Return features (B, N, d) and places (B, N, 3) after the round; edges (B, P, e) and absent as Messages has them."""
        weights = self.pair.weight, self.message.weight, self.message.bias, self.move.weight
        total, x = Messages.apply(self.receiver(h), self.sender(h), x, edges, absent, *weights)
        return (h if self.update is None else h + self.update(torch.cat([h, total], -1))), x


class Messages(torch.autograd.Function):
    """Σ_j m_ij (B, N, d) and the moved places (B, N, 3), with their derivatives by hand: a third of what autograd would store.

    receiver, sender (B, N, d): the parts of an atom in the first map. The P = N(N − 1)/2 pairs i < j have edges (B, P, e), the
    same both ways; messages (B, 2P, d) go to i, then to j. absent: the numbers of those, of 2BP, with an end in the padding.
    """

    @staticmethod
    @custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, receiver, sender, x, edges, absent, pair, message, bias, move):
        """Keep what the derivatives need."""
        b, n, d = receiver.shape
        to, of, _ = ends(n, x.device)
        apart = x.index_select(1, to) - x.index_select(1, of)  # (B, 2P, 3)
        reach = torch.sqrt(apart[:, : len(to) // 2].square().sum(-1) + 1e-8)  # (B, P)
        off, known = expand(reach[..., None], edges)
        first = receiver.index_select(1, to).add_(sender.index_select(1, of))
        first.view(b, 2, -1, d).add_((known @ pair.T)[:, None])
        hidden = silu(first)
        second = torch.addmm(bias, hidden.view(-1, d), message.T).index_fill_(0, absent, SHUT)
        sent = silu(second).view(b, -1, d)
        pull = (sent @ move[0]).view(b, 2, -1) / (reach + 1)[:, None]
        ctx.save_for_backward(apart, reach, off, known, first, hidden, second, sent, pull, pair, message, move)
        ctx.set_materialize_grads(False)
        ctx.n = n
        return torch.zeros_like(receiver).index_add_(1, to, sent), x.index_add(1, to, apart * pull.view(b, -1, 1))

    @staticmethod
    @custom_bwd(device_type="cuda")
    def backward(ctx, d_total, d_x):
        """The chain rule, from the last line of forward to the first."""
        apart, reach, off, known, first, hidden, second, sent, pull, pair, message, move = ctx.saved_tensors
        b, n, d, device = len(apart), ctx.n, move.shape[1], apart.device
        to, of, _ = ends(n, device)
        d_x = apart.new_zeros(b, n, 3) if d_x is None else d_x
        d_push = d_x.index_select(1, to)
        d_pull = (d_push * apart).sum(-1).view(b, 2, -1) / (reach + 1)[:, None]
        d_sent = d_pull.view(b, -1, 1) * move[0]
        if d_total is not None:
            d_sent += d_total.index_select(1, to)
        d_second = torch.ops.aten.silu_backward(d_sent.view(-1, d), second)
        d_first = torch.ops.aten.silu_backward((d_second @ message).view_as(first), first)
        both = d_first.view(b, 2, -1, d).sum(1)  # (B, P, d)
        if ctx.needs_input_grad[2]:  # the places that come in are data
            d_off = (both @ pair[:, :RADII]).mul_(known[..., :RADII]).mul_(off).sum(-1)
            d_reach = (d_pull * pull).sum(1) + d_off / STEP
            there, back = (d_push * pull.view(b, -1, 1)).chunk(2, 1)
            d_apart = there - back - apart[:, : len(to) // 2] * (d_reach / reach)[..., None]
            d_x = d_x.index_add(1, to, torch.cat([d_apart, -d_apart], 1))
        zero = first.new_zeros(b, n, d)
        d_receiver, d_sender = zero.index_add(1, to, d_first), zero.index_add_(1, of, d_first)
        d_pair = both.view(-1, d).T @ known.view(-1, known.shape[-1])
        d_message, d_move = d_second.T @ hidden.view(-1, d), (d_pull.view(-1) @ sent.view(-1, d))[None]
        return d_receiver, d_sender, d_x, None, None, d_pair, d_message, d_second.sum(0), d_move


@lru_cache(maxsize=256)
def ends(n: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return receivers (2P,) and senders (2P,) of messages among n atoms, pairs i < j and then j > i, and the P numbers i n + j."""
    with torch.inference_mode(False):
        i, j = torch.triu_indices(n, n, 1, device=device)
        return torch.cat([i, j]), torch.cat([j, i]), i * n + j


def expand(reach: torch.Tensor, edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return distances (…, 1) from RADII centres between 0 and 4, in widths, and Gaussians of them with edges behind, (…, RADII + e).

    Eight widths away they are cut off, at 10⁻¹⁴: subnormal numbers would make a training step a third slower.
    """
    centres = torch.arange(RADII, device=reach.device, dtype=reach.dtype)
    off = (reach / STEP - centres).clamp_(-8, 8)
    return off, torch.cat([torch.exp(-0.5 * off.square()), edges], -1)


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
        self.layers = nn.ModuleList(Layer(hidden, edge_features, k == layers - 1) for k in range(layers))

    def forward(self, x, sigma, atoms, edges, mask):
        """Return ε̂ (B, N, 3) for places x (B, N, 3), noise levels σ (B,), features (B, N, a), edges (B, N, N, e), mask (B, N, 1).

        edges must be the same both ways.
        """
        x, sigma = centred(x, mask), sigma[:, None, None]
        alpha = torch.sqrt(1 - sigma**2)
        ratio = torch.log(sigma / alpha)  # the time step, as the log of noise to signal
        angles = ratio / 4 * torch.arange(1, 5, device=x.device, dtype=x.dtype)  # (B, 1, 4)
        waves = torch.cat([torch.sin(angles), torch.cos(angles)], -1)
        to, of, upper = ends(x.shape[1], x.device)
        edges = edges.flatten(1, 2).index_select(1, upper)  # (B, P, e)
        absent = (mask.index_select(1, to) * mask.index_select(1, of) == 0).flatten().nonzero()[:, 0]
        h, y = self.atoms(atoms) + self.level(waves), x
        for layer in self.layers:
            h, y = layer(h, y, edges, absent)
        return sigma * x + alpha * centred(y - x, mask)
