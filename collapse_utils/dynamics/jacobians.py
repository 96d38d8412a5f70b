"""The Jacobian of a network's logits with respect to its inputs: its norm by random directions, its penalty, its radii.

Source: Hoffman, Roberts, Yaida 2019 (arXiv 1908.02729): loss + (λ/2) mean ‖J‖². Their package draws directions independently;
here those of one row are orthonormal, which costs nothing, has a smaller variance, and is exact with one for each class.
"""

import copy
import os

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap


def directions(outputs: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Return n random orthonormal vectors for each row of logits (…, C), (n, …, C): Haar frames, or the basis for n = C.

    Raises ValueError for n beyond 1 … C.
    """
    c = outputs.shape[-1]
    if not 1 <= n <= c:
        raise ValueError(f"directions: the directions n must lie between 1 and the {c} classes; got {n}.")
    if n == c:
        unit = torch.eye(c, dtype=outputs.dtype, device=outputs.device)
        return unit.view(c, *[1] * (outputs.dim() - 1), c).expand(c, *outputs.shape)
    drawn = torch.randn(*outputs.shape, n, generator=generator, dtype=outputs.dtype, device=outputs.device)
    if n == 1:
        return nn.functional.normalize(drawn[..., 0], dim=-1)[None]
    return torch.linalg.qr(drawn)[0].movedim(-1, 0)


def squared_norm(outputs: Tensor, x: Tensor, n: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """Return (C/n) Σ_μ |∇_x v_μ·z|² of each row of logits z (…, C), (…,): unbiased for ‖J‖², and ‖J‖² itself for n = C.

    x, the inputs that the logits were computed from, has the same leading dimensions and requires_grad. The result can be
    differentiated again. Raises ValueError for n beyond 1 … C, and for inputs without a gradient.
    """
    if not x.requires_grad:
        raise ValueError("squared_norm: the inputs must have requires_grad set before the logits are computed; they have not.")
    c, rows, total = outputs.shape[-1], outputs.dim() - 1, 0.0
    for v in directions(outputs, n, generator):
        slope = torch.autograd.grad(outputs, x, v, create_graph=True)[0]
        total = total + slope.square().flatten(rows).sum(-1)
    return c / n * total


def jacobian(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits (N, C) of inputs x (N, …) and their Jacobians (N, C, inputs), one backward pass a class."""
    x = x.detach().requires_grad_()
    z = model(x)
    rows = [torch.autograd.grad(z, x, v, retain_graph=True)[0].flatten(1) for v in directions(z, z.shape[1])]
    return z.detach(), torch.stack(rows, dim=1)


def radii(z: Tensor, jacobians: Tensor) -> dict[str, Tensor]:
    """Return, to first order, how far each input must move for its predicted class c to change, (N,) each.

    radius: min over k of (z_c − z_k)/‖J_c − J_k‖, towards class `rival` and along the unit vector `way` (N, inputs); bound:
    min over k of (z_c − z_k)/(√2‖J‖), never above it. z (N, C), jacobians (N, C, inputs) of the logits.
    """
    rows, c = torch.arange(len(z)), z.argmax(1)
    margin = (z[rows, c][:, None] - z).scatter(1, c[:, None], torch.inf)
    apart = jacobians[rows, c][:, None] - jacobians
    radius, rival = (margin / apart.norm(dim=2).clamp_min(1e-30)).min(1)
    way = -nn.functional.normalize(apart[rows, rival], dim=1)
    return {"radius": radius, "rival": rival, "way": way, "bound": margin.amin(1) / (2**0.5 * jacobians.norm(dim=(1, 2)))}


class LeNet(nn.Sequential):
    """LeNet′: 5 × 5 convolutions to 6 and 16 channels, each with tanh and 2 × 2 maxima, then 120, 84 and 10 units with tanh.

    Images (N, 1, side, side). The first convolution is padded by 2; so is the second where the side is below 20 (8 × 8 digits
    would leave it nothing else). Dropout follows the two hidden layers of units; weights are Xavier-uniform, biases 0.
    """

    def __init__(self, side: int = 28, dropout: float = 0.0):
        again = 2 if side < 20 else 0
        left = (side // 2 - 4 + 2 * again) // 2
        super().__init__(
            *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 16, 5, padding=again), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(16 * left**2, 120), nn.Tanh(), nn.Dropout(dropout)),
            *(nn.Linear(120, 84), nn.Tanh(), nn.Dropout(dropout), nn.Linear(84, 10)),
        )
        for layer in self:
            if hasattr(layer, "weight"):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)


def loss(model, x: Tensor, y: Tensor, penalty: float = 0.0, share: float = 1.0, n: int = 1) -> Tensor:
    """Return the cross-entropy of a batch plus (λ/2) ‖J‖², both means over rows, one value a network: (…,).

    x (…, B, inputs), y (…, B); model maps x to logits (…, B, C). share: the part of the batch, its first rows, from which the
    penalty is estimated, as a mean over them: unbiased where rows are in random order, and noisier. Differentiable.
    """
    k = max(1, round(share * y.shape[-1])) if penalty else 0
    rows, head = y.dim() - 1, x.narrow(y.dim() - 1, 0, k)
    parts, norm = [], 0.0
    if k:
        head = head.detach().requires_grad_()
        parts.append(model(head))
        norm = squared_norm(parts[0], head, n).mean(-1)
    if k < y.shape[-1]:
        parts.append(model(x.narrow(rows, k, y.shape[-1] - k)))
    z = torch.cat(parts, dim=rows).log_softmax(-1)
    return -z.gather(-1, y[..., None])[..., 0].mean(-1) + penalty / 2 * norm


def train(models: list[nn.Module], x: Tensor, y: Tensor, batches: Tensor, rate: float, decay=0.0, **penalty) -> list[nn.Module]:
    """Return the trained models, in evaluation mode: SGD with momentum 0.9 on `loss`, the rate falling to zero.

    models: R of one architecture, trained side by side; x (R, N, …) and y (R, N) each model's own rows; batches: row numbers (T, B); decay: weight
    decay; penalty: arguments of `loss`. Raises ValueError for labels of one class or fewer rows than classes,
    FloatingPointError where training diverges.
    """
    check(y, models[0](x[0, :1]).shape[-1])
    base = copy.deepcopy(models[0]).train().to("meta")
    weights, _ = stack_module_state(models)
    steps = torch.optim.SGD(weights.values(), lr=rate, momentum=0.9, weight_decay=decay)
    falling = torch.optim.lr_scheduler.LinearLR(steps, 1.0, 0.0, len(batches))
    together = vmap(lambda own, rows: functional_call(base, own, (rows,)), randomness="different")
    for rows in batches:
        steps.zero_grad()
        loss(lambda inputs: together(weights, inputs), x[:, rows], y[:, rows], **penalty).sum().backward()
        steps.step()
        falling.step()
    if not all(w.isfinite().all() for w in weights.values()):
        raise FloatingPointError(
            f"train: the weights must stay finite; got NaN or infinity at rate {rate:g}; take a smaller one."
        )
    done = [copy.deepcopy(model).eval() for model in models]
    for r, model in enumerate(done):
        model.load_state_dict({name: w[r].detach() for name, w in weights.items()})
    return done


def check(y: Tensor, classes: int) -> None:
    """Raise ValueError, in one sentence, for labels (R, N) from which `classes` classes cannot be learned."""
    if y.shape[1] < classes:
        raise ValueError(f"train: needs at least as many rows as the {classes} classes; got {y.shape[1]}.")
    if int(y.min()) < 0 or int(y.max()) >= classes:
        raise ValueError(f"train: labels must lie between 0 and {classes - 1}; got {int(y.min())} to {int(y.max())}.")
    alone = (y == y[:, :1]).all(1)
    if alone.any():
        raise ValueError(f"train: labels must be of at least 2 classes; got class {int(y[alone][0, 0])} alone.")


def attacked(model: nn.Module, images: Tensor, labels: Tensor, radii: list[float], steps: int = 15) -> tuple[Tensor, Tensor]:
    """Return the accuracy (k,) under projected gradient descent at k radii, and the lengths of Carlini and Wagner's moves.

    By foolbox, for images (N, …) with pixels in [0, 1] and no further preprocessing: PGD in the maximum norm from a random start,
    so many steps of 2.5 radii in all, enough to cross the ball; the L2 attack with three rounds of so many. Lengths (m,) are of
    the images that were right and are turned, upper bounds of the distance to the nearest image with another label.
    Raises ValueError for a model in training mode, whose dropout an attack would take for the model.
    """
    if model.training:
        raise ValueError("attacked: the model must be in evaluation mode; got training mode; call model.eval() first.")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # foolbox imports GitPython for its zoo, and with it wants a git
    from foolbox import PyTorchModel, attacks

    target = PyTorchModel(model, bounds=(0, 1))
    hit = attacks.LinfPGD(steps=steps, rel_stepsize=2.5 / steps)(target, images, labels, epsilons=radii)[2]
    search = attacks.L2CarliniWagnerAttack(binary_search_steps=3, steps=steps, stepsize=0.05, initial_const=0.1)
    _, nearest, turned = search(target, images, labels, epsilons=None)
    right = model(images).argmax(1) == labels
    return 1 - hit.double().mean(dim=1), (nearest - images).flatten(1).norm(dim=1)[turned & right]
