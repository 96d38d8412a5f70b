"""The empirical neural tangent kernel of any torch module, exact, in bounded memory, by the cheapest of three routes.

Θ_ab(x, y) = Σ_μ λ_μ ∂f_a(x)/∂θ_μ ∂f_b(y)/∂θ_μ  (Jacot et al. 2018, arXiv 1806.07572; the routes: Novak et al. 2022,
arXiv 2206.08720, §3). With N + M inputs, O outputs, P parameters and F multiplications in a forward pass of one input:
*jacobian* contracts two Jacobians, N·M·O²·P multiplications; *products* takes one vjp and one batch of jvps for each of
the M·O unit vectors, about 3·N·M·O·F; *layers* uses that a dense layer's Jacobian is an outer product, N·M·O²·(n_in + n_out).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap
from torch.utils.flop_counter import FlopCounterMode

METHODS = ("auto", "layers", "jacobian", "products")


def ntk(
    model: nn.Module,
    x: Tensor,
    y: Tensor | None = None,
    method: str = "auto",
    rates: Callable[[str], float] | None = None,
    max_bytes: int = 2**28,
) -> Tensor:
    """Return the NTK block Θ (N, M, O, O) of a model between inputs x (N, …) and y (M, …); y = x where it is None.

    rates: the learning rate λ of each named parameter, 1 by default. method: layers (modules whose parameters all sit in
    nn.Linear layers called once on rows), jacobian or products; auto takes the cheapest that applies. max_bytes bounds the
    Jacobians and signals held at once, not the result. Raises ValueError for a module whose rows depend on one another
    (BatchNorm in training mode, say), without trainable parameters, or where one row alone exceeds max_bytes.
    """
    if method not in METHODS:
        raise ValueError(f"ntk: method must be one of {', '.join(METHODS)}; got {method!r}.")
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ValueError(f"ntk: the module must have trainable parameters; got none in {type(model).__name__}.")
    _check_rows(model, x)
    lam = {name: 1.0 if rates is None else float(rates(name)) for name in parameters}
    chosen = cheapest(model, x, y) if method == "auto" else method
    with torch.no_grad():
        outputs = model(x[:1])[0].numel()
    route = {"layers": _by_layers, "jacobian": _by_jacobians, "products": _by_products}[chosen]
    return route(model, parameters, x, y, lam, outputs, max_bytes)


def cheapest(model: nn.Module, x: Tensor, y: Tensor | None = None) -> str:
    """Return the route that needs the fewest multiplications: layers where it applies, else jacobian or products.

    Per entry pair (x, y) and output: O·P for the contraction against 3·F for vector products.
    """
    if _dense_layers(model, x[:1]) is not None:
        return "layers"
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        outputs = model(x[:1])[0].numel()
    n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return "jacobian" if outputs * n_parameters <= 3 * counter.get_total_flops() / 2 else "products"


def _check_rows(model, x):
    """A row's output must not depend on the other rows, or Θ(x, y) is not a function of x and y."""
    if any(
        layer.training and isinstance(layer, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd)
        for layer in model.modules()
    ):
        raise ValueError(
            "ntk: BatchNorm and Dropout must be in evaluation mode; got a module in training mode; call model.eval()."
        )
    with torch.no_grad():
        together, alone = model(x[:2])[:1], model(x[:1])
    if not torch.allclose(together, alone, rtol=1e-3, atol=1e-5):
        gap = float((together - alone).abs().max())
        raise ValueError(f"ntk: a row's output must not depend on the other rows; got a difference of {gap:.2g}.")


def _rows(n, each, max_bytes, what):
    """Slices of n rows that together stay within max_bytes."""
    if each > max_bytes:
        raise ValueError(f"ntk: {what} must fit into max_bytes = {max_bytes}; got {each} bytes.")
    step = int(max_bytes // each)
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def _blocks(x, y, rows_x, rows_y, features, contract):
    """Fill (N, M, O, O) block by block; where y is None only the upper triangle is computed, then mirrored."""
    other, theta = x if y is None else y, None
    for i in rows_x:
        left = features(x[i])
        for j in rows_y:
            if y is None and j.start < i.start:
                continue
            right = left if y is None and i == j else features(other[j])
            block = contract(left, right)  # (n, m, O, O)
            if theta is None:
                theta = block.new_empty(len(x), len(other), *block.shape[2:])
            theta[i, j] = block
            if y is None and j.start > i.start:
                theta[j, i] = block.permute(1, 0, 3, 2)
    return theta


def _by_jacobians(model, parameters, x, y, lam, outputs, max_bytes):
    """Σ over parameter tensors of λ J(x) J(y)ᵀ, one tensor's Jacobian at a time, chunks of rows where even that is too much."""
    theta, other = 0.0, x if y is None else y
    for name, p in parameters.items():

        def output(q, row, name=name):
            return functional_call(model, {**parameters, name: q}, (row[None],))[0].reshape(-1)

        def jacobian(rows, p=p, output=output):
            return vmap(jacrev(output), (None, 0))(p, rows).reshape(len(rows) * outputs, -1)  # (n O, size of p)

        def contract(left, right):
            return (left @ right.T).reshape(len(left) // outputs, outputs, -1, outputs).transpose(1, 2)  # (n, m, O, O)

        each = 3 * outputs * p.numel() * p.element_size()  # x's, y's and one in the making
        slices = [_rows(len(z), each, max_bytes, "the Jacobian of one row") for z in (x, other)]
        theta = theta + lam[name] * _blocks(x, y, *slices, jacobian, contract)
    return theta


def _by_products(model, parameters, x, y, lam, outputs, max_bytes):
    """Column (y, b) of Θ: a vjp gives the direction λ ∂f_b(y)/∂θ, a jvp moves all of f(x) along it."""
    other = x if y is None else y
    each = 4 * sum(p.numel() * p.element_size() for p in parameters.values())
    each += 4 * len(x) * max(outputs, x[0].numel()) * x.element_size()
    theta = x.new_empty(len(x), len(other), outputs, outputs)
    units = torch.eye(outputs, dtype=x.dtype, device=x.device)

    def column(row, unit):
        _, pull = vjp(lambda p: functional_call(model, p, (row[None],))[0].reshape(-1), parameters)
        direction = {name: lam[name] * g for name, g in pull(unit)[0].items()}
        return jvp(lambda p: functional_call(model, p, (x,)).reshape(len(x), -1), (parameters,), (direction,))[1]  # (N, O)

    pairs = [(j, b) for j in range(len(other)) for b in range(outputs)]
    for part in _rows(len(pairs), each, max_bytes, "one direction"):
        j, b = (torch.tensor(index, device=x.device) for index in zip(*pairs[part]))
        theta[:, j, :, b] = vmap(column)(other[j], units[b])  # (c, N, O)
    return theta


def _dense_layers(model, x):
    """The trained nn.Linear layers by name, if no other parameter is trained and each runs once, on the rows; else None."""
    trained = [p for p in model.parameters() if p.requires_grad]
    layers = {
        name: layer
        for name, layer in model.named_modules(remove_duplicate=False)
        if type(layer) is nn.Linear and any(p.requires_grad for p in layer.parameters())
    }
    owned = [id(p) for layer in layers.values() for p in layer.parameters() if p.requires_grad]
    if sorted(owned) != sorted(map(id, trained)):  # others', or one parameter in two layers
        return None
    with torch.no_grad():
        calls = _record(model, layers, x)[1]
    alone = all(len(found) == 1 and found[0][0].shape[:-1] == x.shape[:1] for found in calls.values())
    return layers if alone else None


def _record(model, layers, x):
    """The outputs of a forward pass, and for each layer the list of its (input, output) pairs."""
    calls = {name: [] for name in layers}

    def hook_of(name):
        def hook(_, args, out):
            calls[name].append((args[0], out))
            return out.clone()  # what comes after may change it in place

        return hook

    hooks = [layer.register_forward_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        return model(x), calls
    finally:
        for hook in hooks:
            hook.remove()


def _by_layers(model, parameters, x, y, lam, outputs, max_bytes):
    """Θ = Σ over layers of (λ_W ⟨h, h'⟩ + λ_b) ⟨δ_a, δ'_b⟩, with h a layer's input and δ_a = ∂f_a/∂(its output)."""
    layers = _dense_layers(model, x[:1])
    if layers is None:
        raise ValueError(
            "ntk: method 'layers' needs all parameters in nn.Linear layers called once on rows; use 'jacobian' or 'products'."
        )
    units = torch.eye(outputs, dtype=x.dtype, device=x.device)

    def signals(rows):
        with torch.enable_grad():
            out, calls = _record(model, layers, rows)
            seeds = units[:, None].expand(-1, len(rows), -1).reshape(outputs, *out.shape)
            deltas = torch.autograd.grad(
                out, [calls[name][0][1] for name in layers], seeds, is_grads_batched=True, materialize_grads=True
            )
        return {
            name: (calls[name][0][0].detach(), delta.transpose(0, 1).reshape(len(rows) * outputs, -1))  # (n, n_in), (n O, n_out)
            for name, delta in zip(layers, deltas)
        }

    def contract(left, right):
        theta = 0.0
        for name, layer in layers.items():
            (h, delta), (h2, delta2) = left[name], right[name]
            inner = lam.get(f"{name}.weight".lstrip("."), 0.0) * (h @ h2.T)
            if layer.bias is not None:
                inner = inner + lam.get(f"{name}.bias".lstrip("."), 0.0)  # (n, m)
            pairs = (delta @ delta2.T).reshape(len(h), outputs, len(h2), outputs).transpose(1, 2)
            theta = theta + inner[:, :, None, None] * pairs
        return theta

    other = x if y is None else y
    each = 3 * x.element_size() * sum(layer.in_features + 2 * outputs * layer.out_features for layer in layers.values())
    return _blocks(x, y, *(_rows(len(z), each, max_bytes, "the signals of one row") for z in (x, other)), signals, contract)
