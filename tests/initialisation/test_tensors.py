"""The NTK and its derivatives: automatic differentiation, exact identities, theory of both ensembles, refusals."""

import numpy as np
import pytest

from collapse_utils import claims
from collapse_utils.initialisation import tensors
from collapse_utils.initialisation.correlators import normalised
from collapse_utils.initialisation.propagation import Activation, activation
from collapse_utils.initialisation.weights import networks
from collapse_utils.theory import criticality as theory, fluctuations

ALARM = 5.5  # standard errors, below 1e-6 for a dozen comparisons
FORMS = {"tanh": "tanh", "sin": "sin", "gelu": "gelu", "swish": "silu", "relu": "relu"}


def agreeing(found, law, rival, n):
    """The five tensors follow the law in the last layer, up to the next order; return how many of them reject the rival."""
    rejected = 0
    for key in "VABDF":
        samples = normalised(key, found, n)[:, -1]
        slack = ALARM * samples.std(ddof=1) / np.sqrt(len(samples)) + (4 + 8 * abs(law[key][-1])) / n
        assert abs(samples.mean() - law[key][-1]) < slack, key
        rejected += abs(samples.mean() - rival[key][-1]) > slack
    return rejected


def differentiated(name, x, weights, rates_b, rate_w):
    """(H, dH, ddI, ddII) of one network's last layer from nested jvp and jacrev over all parameters; shares no code."""
    torch = pytest.importorskip("torch")
    act = torch.sin if name == "sin" else getattr(torch.nn.functional, FORMS[name])
    shapes = [w.shape for w in weights]
    sizes = [a * b for a, b in shapes]
    rate = np.concatenate([np.full(a * b, rate_w / b) for a, b in shapes] + [np.full(s[0], r) for s, r in zip(shapes, rates_b)])
    rate = torch.as_tensor(rate)
    theta = torch.cat([torch.as_tensor(w).reshape(-1) for w in weights] + [torch.zeros(sum(s[0] for s in shapes))]).double()
    x = torch.as_tensor(x)

    def z(theta):
        parts = theta.split(sizes + [s[0] for s in shapes])
        signal = x
        for i, shape in enumerate(shapes):
            signal = parts[i].reshape(shape) @ (act(signal) if i else signal) + parts[len(shapes) + i]
        return signal

    def along(f, v):
        return lambda theta: torch.func.jvp(f, (theta,), (v,))[1]

    J = torch.func.jacrev(z)(theta)  # (n, P)
    V = J * rate  # directions Λ∇z_b
    n = len(J)
    H = J @ V.T
    dH = torch.stack([torch.stack([along(along(z, V[b]), V[c])(theta) for c in range(n)], 1) for b in range(n)], 1)
    third = lambda b, c, d: along(along(along(z, V[b]), V[c]), V[d])(theta)  # noqa: E731
    ddI = torch.stack(
        [torch.stack([torch.stack([third(b, c, d) for d in range(n)], 1) for c in range(n)], 1) for b in range(n)], 1
    )
    hessians = torch.stack([torch.func.jacrev(along(z, V[c]))(theta) for c in range(n)], 1)  # (a, c, P) Hess z_a · Λ∇z_c
    ddII = torch.einsum("acp,p,bdp->abcd", hessians, rate, hessians)
    return tuple(t.numpy() for t in (H, dH, ddI, ddII))


@pytest.mark.parametrize(("name", "ensemble"), [("tanh", "haar"), ("gelu", "gaussian"), ("sin", "gaussian"), ("swish", "haar")])
def test_recursions_are_the_derivatives_of_automatic_differentiation(name, ensemble):
    rng = np.random.default_rng(5)
    n0, n, depth, rate_w = 3, 4, 4, 0.7
    x, rates_b = rng.standard_normal(n0), rng.uniform(0.2, 1, depth)
    weights = networks(ensemble, [n0] + [n] * depth, 2, rng, 1.4, rectangular="semi-orthogonal")
    states = list(tensors.forward(activation(name), x, weights, rates_b, rate_w))
    sums, off = tensors.second(activation(name), weights[1:], states, rate_w), ~np.eye(n, dtype=bool)
    for layer, i in [(depth - 1, 0), (depth - 1, 1), (depth - 2, 0), (1, 1)]:
        z, *found = states[layer]
        assert z.shape == (2, n)
        H, dH, ddI, ddII = differentiated(name, x, [w[i] for w in weights[: layer + 1]], rates_b[: layer + 1], rate_w)
        for own, other in zip(found, (H, dH), strict=True):
            assert np.abs(own[i] - other).max() < 1e-11 * max(1.0, np.abs(other).max())
            assert np.abs(other).max() > 1e-3
        for key, whole, entries in (("R", ddI, "iijj"), ("S", ddII, "iijj"), ("T", ddII, "ijij"), ("U", ddII, "ijji")):
            other = np.einsum(f"{entries}->ij", whole)[off].mean()
            assert abs(sums[key][i, layer] - other) < 1e-11 * max(1.0, np.abs(whole).max()), key
            assert abs(other) > 1e-6, key


def test_the_released_slip_is_not_a_derivative_and_moves_t():
    rng = np.random.default_rng(6)
    x, rates_b = rng.uniform(size=4), 1 / np.arange(1, 4)
    weights = networks("haar", [4] * 4, 1, rng)
    act = activation("tanh")
    right, slip = (list(tensors.forward(act, x, weights, rates_b, slip=s)) for s in (False, True))
    assert np.abs(right[-1][2] - right[-1][2].swapaxes(2, 3)).max() < 1e-14  # a second derivative is symmetric in b, c
    assert np.abs(slip[-1][2] - slip[-1][2].swapaxes(2, 3)).max() > 1e-3
    z, H, w = right[0][0][0], right[0][1][0], weights[1][0]
    s, d = np.tanh(z), 1 - np.tanh(z) ** 2
    printed = np.einsum("bl,k,l,k,kl->b", w, d, s, d, H) / 4  # as released: σ'_k σ_l σ'_k, and not σ_k σ'_k σ'_l
    meant = np.einsum("bl,k,k,l,kl->b", w, s, d, d, H) / 4
    for one in range(4):
        gap = slip[1][2][0, one, :, one] - right[1][2][0, one, :, one]
        assert np.allclose(gap, printed - meant, atol=1e-15)


def test_under_haar_weights_the_slip_moves_t_and_hardly_anything_else(seed):
    depth, x = 9, np.random.default_rng([seed, 1]).uniform(size=6)
    right, slip = (
        tensors.tensors(
            activation("tanh"), drawn("haar", 6, depth, np.random.default_rng(seed)), x, 60, 1 / np.arange(1, 10), slip=s
        )
        for s in (False, True)
    )
    ratio = {q: slip[q].mean(0)[-1] / right[q].mean(0)[-1] for q in "RSTU"}
    assert all(abs(ratio[q] - 1) < 0.01 for q in "SU")
    assert ratio["T"] < 0.9


def drawn(ensemble, n, depth, rng, c_w=1.0, first=None):
    return lambda count: networks(ensemble, [n] * (depth + 1), count, rng, c_w, first)


def test_numbers_depend_on_the_seed_and_on_no_chunk_order_or_budget():
    x, rates_b, act = np.linspace(0, 1, 5), np.ones(3), activation("tanh")
    run = lambda **options: tensors.tensors(act, drawn("haar", 5, 3, np.random.default_rng(2)), x, 9, rates_b, **options)  # noqa: E731
    whole, small = run(), run(budget=8 * 13 * 27 + 90_000)
    for key in whole:
        assert whole[key].shape == (9, 3)
        assert np.allclose(whole[key], small[key], rtol=1e-13, atol=1e-15)
        assert np.array_equal(whole[key], run()[key])
    for order, keys in ((1, "KHVABDF"), (2, "KHVABDFPQ")):
        part = run(order=order)
        assert sorted(part) == sorted(keys)
        assert all(np.allclose(part[key], whole[key], rtol=1e-13) for key in keys)


def test_statistics_are_means_over_pairs():
    rng = np.random.default_rng(3)
    z, H, dH = (rng.standard_normal((2, *[4] * k)) for k in (1, 2, 3))
    found = tensors._statistics(z, H, dH)
    pair = [(i, j) for i in range(4) for j in range(4) if i != j]
    plain = {
        "A": lambda i, j: H[:, i, i] * H[:, j, j],
        "B": lambda i, j: H[:, i, j] ** 2,
        "D": lambda i, j: z[:, i] ** 2 * H[:, j, j],
        "F": lambda i, j: z[:, i] * z[:, j] * H[:, i, j],
        "P": lambda i, j: dH[:, i, j, j] * z[:, i],
        "Q": lambda i, j: dH[:, i, i, j] * z[:, j],
    }
    for key, term in plain.items():
        assert np.allclose(found[key], np.mean([term(i, j) for i, j in pair], axis=0)), key


def test_linear_haar_networks_have_one_kernel():
    found = tensors.tensors(
        activation("linear"), drawn("haar", 6, 5, np.random.default_rng(0)), np.ones(6), 4, np.full(5, 0.5), 2.0
    )
    assert np.allclose(found["H"], np.arange(1, 6) * 2.5)
    assert np.allclose(found["B"], 0, atol=1e-12)
    assert np.allclose(found["A"], found["H"] ** 2)


def test_the_mean_ntk_of_relu_has_no_correction_at_any_width(seed):
    rng = np.random.default_rng(seed)
    n, depth = int(rng.integers(4, 9)), 5
    x = rng.standard_normal(n)
    x *= np.sqrt(n / (x @ x))
    act, draw, rates_b = activation("relu"), drawn("gaussian", n, depth, rng, 2.0), np.full(depth, 0.4)
    found = tensors.tensors(act, draw, x, 20_000, rates_b, 0.9, order=1)["H"].reshape(1000, 20, depth).mean(1)
    law = fluctuations.tangent(theory.ACTIVATIONS["relu"], 2.0, rates_b, 0.9, "gaussian")["H"]
    noise = found.std(0, ddof=1) / np.sqrt(1000)
    assert (np.abs(found.mean(0) - law) < ALARM * noise + 1e-12).all()
    assert np.abs(found.mean(0) - law * (1 + 1 / n))[-1] > ALARM * noise[-1]


def test_a_swapped_ensemble_fails_the_claims(seed):
    rng = np.random.default_rng(seed)
    n, depth = 80, 8
    rates_b = 1 / np.arange(1, depth + 1)
    law = {e: fluctuations.tangent(theory.ACTIVATIONS["tanh"], 1.0, rates_b, 1.0, e) for e in ("gaussian", "haar")}
    columns = lambda y: np.concatenate([y[q][..., 1:] for q in "ABDF"], -1)  # noqa: E731
    for ensemble, verdict in (("gaussian", "holds"), ("haar", "fails")):
        found = tensors.tensors(activation("tanh"), drawn(ensemble, n, depth, rng), np.ones(n), 300, rates_b, order=1)
        samples = columns({q: normalised(q, found, n) for q in "ABDF"})
        assert claims.equal("PDLT-11c", samples, columns(law["gaussian"]), columns(law["haar"])).verdict == verdict


@pytest.mark.parametrize("ensemble", ["gaussian", "haar"])
@pytest.mark.parametrize("name", ["tanh", "gelu"])
def test_tensors_follow_the_recursions_at_a_width_and_depth_of_their_own(seed, name, ensemble):
    rng = np.random.default_rng(seed)
    n, depth, count = int(rng.integers(28, 40)), 4, 1500
    k1, rates_b, rate_w, c_w = (
        rng.uniform(0.6, 1.5),
        rng.uniform(0.3, 1, depth),
        rng.uniform(0.6, 1.2),
        {"tanh": 1.1, "gelu": 1.9}[name],
    )
    x = np.full(n, np.sqrt(k1 / c_w))
    found = tensors.tensors(activation(name), drawn(ensemble, n, depth, rng, c_w), x, count, rates_b, rate_w, order=1)
    other = {"gaussian": "haar", "haar": "gaussian"}[ensemble]
    law, rival = (fluctuations.tangent(theory.ACTIVATIONS[name], k1, rates_b, rate_w, e, c_w=c_w) for e in (ensemble, other))
    assert found["H"].mean(0) == pytest.approx(law["H"], rel=0.15)
    assert agreeing(found, law, rival, n) >= 2


@pytest.mark.parametrize("ensemble", ["gaussian", "haar"])
def test_an_activation_width_and_depth_used_nowhere_follow_the_recursions(seed, ensemble):
    """σ = a·arctan(bz) + c·z/√(1 + z²) + d·log cosh z with random a … d, random width, depth, rates and weight variance."""
    rng = np.random.default_rng([seed, 7])
    a, b, c, d = rng.uniform([0.3, 0.5, 0.2, -0.2], [0.8, 1.5, 0.7, 0.2])
    f = lambda z: a * np.arctan(b * z) + c * z / np.sqrt(1 + z**2) + d * np.log(np.cosh(z))  # noqa: E731
    slope = lambda z: a * b / (1 + (b * z) ** 2) + c * (1 + z**2) ** -1.5 + d * np.tanh(z)  # noqa: E731
    n, depth, count = int(rng.integers(41, 60)), int(rng.integers(3, 7)), 1500
    k1, rates_b, rate_w, c_w = rng.uniform(0.5, 1.5), rng.uniform(0.3, 1, depth), rng.uniform(0.6, 1.2), rng.uniform(0.9, 1.3)
    x = rng.standard_normal(n)
    x *= np.sqrt(k1 / c_w * n / (x @ x))
    own, act = Activation(f, slope, np.zeros_like, np.zeros_like), theory.Activation("drawn", f, slope)
    found = tensors.tensors(own, drawn(ensemble, n, depth, rng, c_w), x, count, rates_b, rate_w, order=1)
    other = {"gaussian": "haar", "haar": "gaussian"}[ensemble]
    law, rival = (fluctuations.tangent(act, k1, rates_b, rate_w, e, c_w=c_w) for e in (ensemble, other))
    assert found["K"].mean(0) == pytest.approx(law["K"], rel=0.08)
    assert found["H"].mean(0) == pytest.approx(law["H"], rel=0.08)
    assert agreeing(found, law, rival, n) >= 1


def test_the_mean_kernel_is_shifted_as_the_recursion_says_and_relu_s_is_not(seed):
    """GELU with biases at widths 15 and 30, extrapolated to infinite width: n(E H/Θ − 1) → κ_H; zero, ReLU's value, is rejected."""
    rng, depth, count, k1, c_w, c_b = np.random.default_rng([seed, 3]), 5, 40_000, 1.0, 1.5, 0.1
    setting = theory.ACTIVATIONS["gelu"], k1, np.ones(depth), 0.8
    law = fluctuations.tangent(*setting, "gaussian", c_w=c_w, c_b=c_b)["H"][-1]
    shift = fluctuations.tangent_shift(*setting, c_w, c_b)[-1]
    scaled, errors = [], []
    for n in (15, 30):
        biases = lambda r, n=n: np.sqrt(c_b) * rng.standard_normal((r, depth, n))  # noqa: E731
        x = np.full(n, np.sqrt(k1 / c_w))
        draw = drawn("gaussian", n, depth, rng, c_w)
        h = tensors.tensors(activation("gelu"), draw, x, count, np.ones(depth), 0.8, order=1, biases=biases)["H"][:, -1] / law
        scaled.append(n * (h.mean() - 1))
        errors.append(n * h.std() / np.sqrt(count))
    found, error = 2 * scaled[1] - scaled[0], np.hypot(2 * errors[1], errors[0])
    assert abs(found - shift) < ALARM * error + 0.2 * abs(shift)  # the order after the next
    assert abs(found) > ALARM * error
    assert np.abs(fluctuations.tangent_shift(theory.ACTIVATIONS["relu"], 2.0, np.ones(depth), 0.8, 2.0)).max() < 1e-12


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"n": 1}, ValueError, "width must be at least 2.*got 1"),
        ({"rates_b": []}, ValueError, "depth must be at least 1; got 0"),
        ({"networks": 1}, ValueError, "number of networks must be at least 2; got 1"),
        ({"order": 4}, ValueError, "order must be 1 .NTK., 2 .dNTK. or 3 .ddNTK.; got 4"),
        ({"n": 3000}, MemoryError, "one of them takes .* GiB; got a budget of"),
        ({"networks": 10**12, "order": 1}, MemoryError, "1000000000000 networks of width 5 .*must fit into memory"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(change, error, sentence):
    settings = {"n": 5, "networks": 4, "rates_b": [1.0, 0.5], "order": 3} | change
    n, rates_b = settings.pop("n"), settings.pop("rates_b")
    draw = drawn("gaussian", n, max(len(rates_b), 1), np.random.default_rng(0))
    with pytest.raises(error, match=sentence) as raised:
        tensors.tensors(activation("tanh"), draw, np.ones(n), settings.pop("networks"), rates_b, **settings)
    assert "\n" not in str(raised.value)
