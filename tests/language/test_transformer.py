"""Language models: exact sizes, hand-computed losses, decoding against `generate`, kill and resume."""

import contextlib
import math
import os
import shutil
import socket
import subprocess
import time
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from collapse_utils import claims, feedback_loop
from collapse_utils.language import decoding, transformer as language
from collapse_utils.language.tokens import END, Rows, lengths
from collapse_utils.regimes import accumulate
from collapse_utils.store import resumable
from collapse_utils.training import Recipe, TrainingError, order, rate_at, sha256, summed_loss, train
from tests import support
from workflow import chapters

pytestmark = pytest.mark.usefixtures("one_thread")
V, L = 40, 24
RECIPE = Recipe(rate=3e-3, epochs=2.0, batch=8)


def corpus(seed=0, n=64):
    """Rows of a simple language: each token is the one before plus one or two; rows of many lengths."""
    rng = np.random.default_rng(seed)
    rows = (rng.integers(1, V, (n, 1)) + rng.integers(1, 3, (n, L)).cumsum(axis=1)) % (V - 1) + 1
    rows[np.arange(L) >= rng.integers(4, L + 6, n)[:, None]] = END
    return rows.astype(np.uint16)


def model_of(size, seed=0, scale=8.0):
    """A fresh model with weights large enough that its predictions differ from token to token."""
    torch.manual_seed(seed)
    model = language.build(size, V).eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.mul_(scale)
    return model


@pytest.mark.parametrize(
    ("size", "count"), [("gpt2-9m", 8_890_880), ("llama-12m", 12_488_960), ("llama-42m", 41_755_136), ("llama-126m", 125_553_408)]
)
def test_the_paper_s_models_have_its_parameter_counts(size, count):
    assert language.n_parameters(language.build(size, 8000, "meta")) == count


@pytest.mark.parametrize("size", ["llama-tiny", "llama-42m", "gpt2-9m"])
def test_the_weights_of_the_layers_are_all_matrices_but_the_embeddings(size):
    model = language.build(size, V, "meta")
    matrices = {name: p.numel() for name, p in model.named_parameters() if p.dim() == 2}
    embeddings = {"model.embed_tokens.weight", "lm_head.weight", "transformer.wte.weight", "transformer.wpe.weight"}
    assert len(set(matrices) & embeddings) == 2
    assert language.layer_weights(size) == sum(count for name, count in matrices.items() if name not in embeddings)


@pytest.mark.parametrize("size", ["llama-tiny", "gpt2-1m"])
def test_the_loss_is_the_hand_computed_one_and_padding_never_counts(size):
    model, rows = model_of(size), np.array([[5, 7, END, END, END, END], [3, 9, 4, 8, END, END]], np.uint16)
    total, count = language.cross_entropy(model, rows)
    by_hand = 0.0
    for row, n in ((rows[0], 3), (rows[1], 5)):
        for t in range(n):
            given = torch.tensor([[END, *row[:t].tolist()]])
            by_hand -= torch.log_softmax(model(given).logits[0, -1].double(), -1)[int(row[t])].item()
    assert count == 8
    assert abs(total.item() - by_hand) < 1e-3
    wider = np.concatenate([rows, np.full((2, 5), END, np.uint16)], axis=1)
    again, count = language.cross_entropy(model, wider)
    assert (again.item(), count) == (total.item(), 8)
    scores = language.LanguageModel(model, 6).scores(rows)
    assert scores["token"].tolist() == [5, 7, END, 3, 9, 4, 8, END]
    assert abs(scores["loss"].sum() - by_hand) < 1e-3
    uniform = model_of(size, scale=0.0)
    assert abs(language.LanguageModel(uniform, 6).loss(rows) - np.log(V)) < 1e-5


@pytest.mark.parametrize(("rows", "scale"), [(3, 0.1), (50, 30.0)])
def test_the_loss_in_one_pass_has_the_value_and_gradients_of_cross_entropy(rows, scale, seed):
    """Also where the logits are taken in several parts, rows do not count, and a share is too small for a float32."""
    vocabulary = 2**22 // 20
    generator = torch.Generator().manual_seed(seed)
    hidden, weight = (torch.randn(n, 2, generator=generator).mul_(scale).requires_grad_() for n in (rows, vocabulary))
    ids, mask = torch.randint(vocabulary, (rows,), generator=generator), torch.arange(rows) % 3 > 0
    ours = summed_loss(hidden, weight, ids, mask)
    plain = torch.nn.functional.cross_entropy(hidden[mask] @ weight.T, ids[mask], reduction="sum")
    assert (plain > 100 * mask.sum()) == (scale > 1)
    assert torch.isclose(ours, plain, rtol=1e-5)
    for a, b in zip(*(torch.autograd.grad(3 * loss, (hidden, weight)) for loss in (ours, plain)), strict=True):
        assert torch.allclose(a, b, atol=1e-4 * b.abs().max())


def test_bfloat16_is_asked_for_by_name_and_refused_where_it_is_slow(monkeypatch):
    def trained(precision):
        recipe = Recipe(rate=3e-3, precision=precision)
        model = model_of("llama-tiny", scale=1.0)
        return train(model, lambda model, batch, step: language.cross_entropy(model, batch), [corpus()] * 20, recipe)

    plain = trained(None)
    assert (trained("float32") == plain).all()
    with pytest.raises(ValueError, match="precision must be float32, bfloat16 or None; got 'half'"):
        trained("half")
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        assert 0 < np.abs(trained("bfloat16") - plain).max() < 0.02
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(ValueError, match="this processor has no bfloat16 products"):
        trained("bfloat16")


def test_scores_by_group_are_means_over_the_tokens_of_each(seed):
    model, rows = language.LanguageModel(model_of("llama-tiny", seed), L), corpus()
    small = np.arange(V) < 10
    found, scores = model.means(rows, {"small": small}), model.scores(rows)
    assert np.isclose(found["small"], scores["loss"][scores["token"] < 10].mean())
    assert np.isclose(found["sure"], (scores["loss"] - scores["entropy"]).mean())


def test_a_draw_by_blocks_is_that_of_the_running_sum(seed):
    """For vocabularies that fill their blocks and that do not; a token of no share is never drawn."""
    generator = torch.Generator().manual_seed(seed)
    for vocabulary in (2, 40, 49, 50):
        share = torch.rand(3000, vocabulary, generator=generator) ** 4
        share[:, ::2] = 0.0
        u = torch.rand(3000, 1, generator=generator)
        running = share.cumsum(dim=1)
        border = min(2 * math.isqrt(vocabulary), vocabulary) - 1  # the last token of a block, or of all
        u[:2000] = (running / running[:, -1:])[:2000, border, None] - 2**-24
        u[0], u[1] = 0.0, 1 - 2**-24
        plain = torch.searchsorted(running, u * running[:, -1:], right=True)[:, 0]
        drawn = decoding._drawn(share, u)
        assert (drawn % 2 == 1).all()
        assert (drawn == plain)[2000:].float().mean() > 0.999


def greedy(logits, rows, step):
    """A pick for decode: the likeliest token of each row."""
    return logits.argmax(dim=-1)


@pytest.mark.parametrize("size", ["llama-tiny", "gpt2-1m"])
def test_greedy_decoding_equals_generate_token_for_token(size, seed):
    model, prompt = model_of(size, seed), [3, 8, 2]
    ours = decoding.decode(model, 3, 20, greedy, prompt)
    given = torch.tensor([[END, *prompt]])
    theirs = model.generate(
        given, max_new_tokens=17, do_sample=False, use_cache=True, pad_token_id=END, attention_mask=torch.ones_like(given)
    )[0, 1:]
    assert (ours == ours[0]).all()
    assert ours[0, : len(theirs)].tolist() == theirs.tolist()
    assert (ours[0, len(theirs) :] == END).all()


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_samples_follow_the_model_s_own_probabilities(temperature, seed):
    """Chi-square of second tokens given the first against softmax(logits/temperature); the other temperature is rejected."""
    model, n, first = model_of("llama-tiny", seed), 4000, 7
    rng = np.random.default_rng(seed)
    rows = decoding.decode(model, n, 2, decoding.sampler(2, temperature, rng), [first], batch=1000)
    logits = model(torch.tensor([[END, first]])).logits[0, -1].double()

    def p_value(t):
        share = torch.softmax(logits / t, -1).detach().numpy()
        seen, expected = np.bincount(rows[:, 1], minlength=V), n * share
        rare = expected < 5
        seen = np.append(seen[~rare], seen[rare].sum())
        expected = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
        keep = expected > 1
        return chi2.sf(((seen - expected) ** 2 / expected)[keep].sum() + 1e3 * seen[~keep].sum(), max(1, keep.sum() - 1))

    assert p_value(temperature) > 1e-6
    assert p_value(1.3 - temperature) < 1e-6


def test_a_row_has_its_own_numbers_in_any_batch_and_stops_at_its_end(seed):
    """Logits agree between batch sizes up to rounding, so that now and then a row may part."""
    model = model_of("llama-tiny", seed)
    a, b = (language.LanguageModel(model, L, batch=batch).sample(60, np.random.default_rng(seed)) for batch in (60, 7))
    assert (a == b).all(axis=1).mean() >= 0.9
    assert a.shape == (60, L)
    ended = lengths(a)
    assert (ended < L).any()
    assert all((row[n:] == END).all() for row, n in zip(a, ended, strict=True))


def test_impossible_requests_are_refused_before_training():
    good = {"size": "llama-tiny", "vocabulary": V, "context": L, "recipe": RECIPE}
    with pytest.raises(ValueError, match="size must be one of llama-tiny.*got 'huge'"):
        language.LanguageFit(**good | {"size": "huge"})
    with pytest.raises(ValueError, match="context must lie between 2 and 512 for llama-tiny; got 513"):
        language.LanguageFit(**good | {"context": 513})
    for temperature in (0.0, -1.0):
        with pytest.raises(ValueError, match="temperature must be positive"):
            language.LanguageFit(**good, temperature=temperature)
    with pytest.raises(ValueError, match="temperature must be positive"):
        decoding.sampler(L, 0.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"rows must be \(n, 24\)"):
        language.LanguageFit(**good)(np.zeros((0, L), np.uint16), np.random.default_rng(0))
    with pytest.raises(ValueError, match="rows must fit the model's context 512; got 600"):
        decoding.decode(model_of("llama-tiny"), 1, 600, greedy)
    with pytest.raises(ValueError, match="a prompt must fit the rows of 3 tokens; got 4"):
        decoding.decode(model_of("llama-tiny"), 1, 3, greedy, prompt=[1, 2, 3, 4])


def test_every_row_is_seen_once_an_epoch_with_little_padding(seed):
    rng = np.random.default_rng(seed)
    long = rng.integers(1, 200, 1000)
    steps = order(long, Recipe(epochs=3.0, batch=8), rng)
    assert len(steps) == 375
    assert (np.bincount(np.concatenate(steps)) == 3).all()
    padding = sum(len(s) * long[s].max() - long[s].sum() for s in steps) / (3 * long.sum())
    assert padding < 0.05  # rows in any order: about 0.7


def test_the_rate_warms_up_and_falls_to_a_tenth():
    rates = np.array([rate_at(step, 200, Recipe(rate=1.0, warmup=0.1)) for step in range(200)])
    assert rates.argmax() in (19, 20)
    assert rates.max() == 1.0
    assert (np.diff(rates[:20]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()
    assert 0.1 < rates[-1] < 0.11


def test_training_learns_the_language():
    """Below the loss of the best unigram law, and not below the entropy of the source."""
    fit = language.LanguageFit("llama-tiny", V, L, Recipe(rate=5e-3, epochs=25.0, batch=8))
    loss = fit(corpus(), np.random.default_rng(0)).loss(corpus(1))
    held = corpus(1)
    tokens = np.concatenate([row[:n] for row, n in zip(held, lengths(held), strict=True)])
    share = np.bincount(tokens, minlength=V) / len(tokens)
    unigram = -(share[share > 0] * np.log(share[share > 0])).sum()
    assert np.log(2) * 0.9 < loss < unigram - 1


def test_a_loss_that_is_no_number_stops_with_the_step_and_the_checkpoint(tmp_path):
    model, rows = model_of("llama-tiny", scale=1.0), corpus()

    def loss(network, batch, step):
        total, count = language.cross_entropy(network, batch)
        return total * (float("nan") if step == 9 else 1.0), count

    with pytest.raises(TrainingError, match=r"not at step 9 \(from 0\); the last good checkpoint is .*state, after 8 steps"):
        train(model, loss, [rows[4 * s : 4 * s + 4] for s in range(12)], RECIPE, tmp_path / "state", every=4)


@pytest.mark.parametrize("changed", ["key", "steps", "recipe"])
def test_the_checkpoint_of_another_training_is_not_taken_up(tmp_path, changed):
    rows, other = corpus(), Recipe(rate=1e-3, epochs=2.0, batch=8)
    now = {"key": "now" if changed == "key" else "", "recipe": other if changed == "recipe" else RECIPE}
    steps = 10 if changed == "steps" else 12

    def run(checkpoint, steps, recipe, key, stop=None):
        def loss(model, batch, step):
            if step == stop:
                raise KeyboardInterrupt
            return language.cross_entropy(model, batch)

        batches = [rows[4 * step : 4 * step + 4] for step in range(steps)]
        return train(model_of("llama-tiny", scale=1.0), loss, batches, recipe, checkpoint, 4, key)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "state", 12, RECIPE, "", stop=9)
    assert (tmp_path / "state").exists()
    assert (run(tmp_path / "state", steps, **now) == run(None, steps, **now)).all()


def test_the_digest_is_of_all_rows_in_order(seed):
    rows = np.random.default_rng(seed).integers(0, 9, (50, 3)).astype(np.uint16)
    changed = rows.copy()
    changed[-1, -1] += 1
    assert sha256(rows, 7) == sha256(Rows(rows[:20], rows[20:])) != sha256(changed)


def losses(folder, n=3, checkpoint=True):
    """Three generations of accumulate in a store: the losses of every training step and the held-out loss."""
    fit = language.LanguageFit("llama-tiny", V, L, RECIPE, checkpoint=folder / "state" if checkpoint else None)
    rng, real = np.random.default_rng(5), Rows(corpus())
    with contextlib.ExitStack() as stack:
        if checkpoint:
            save = language.LanguageModel.save
            fit = stack.enter_context(resumable(folder / "store", fit, {"seed": 5}, save, fit.load))
        generations = islice(feedback_loop(fit, real, accumulate, rng), n)
        return [(g.model.losses.tolist(), g.model.loss(corpus(1))) for g in generations]


def slowly(folder, tell):
    """In a process of its own: the same, a checkpoint every 4 steps, and time to be killed in; tells where it is."""
    torch.set_num_threads(1)
    train, decode = language.train, decoding.decode

    def late(model, loss, *rest, **options):
        return train(model, lambda *batch: (time.sleep(0.03), loss(*batch))[1], *rest, every=4, **options)

    def slow(model, n, length, pick, *rest):
        tell.send("between")
        time.sleep(0.3)

        def later(logits, rows, step):
            if step == 3:
                tell.send("sampling")
            time.sleep(0.01)
            return pick(logits, rows, step)

        return decode(model, n, length, later, *rest)

    language.train, decoding.decode = late, slow
    tell.send("ready")
    losses(folder)


def test_killed_anywhere_the_rerun_has_bit_identical_losses(tmp_path):
    """SIGKILL while a model trains, between that and sampling, and in the midst of sampling."""
    seen = set()
    for target in ("training", "between", "sampling", "training"):
        hear, tell = support.SPAWN.Pipe(duplex=False)
        child = support.spawned(slowly, tmp_path, tell)
        tell.close()
        assert hear.recv() == "ready"
        if target == "training":
            before, deadline = time.time(), time.time() + 60
            state = tmp_path / "state"
            while time.time() < deadline and not (state.exists() and state.stat().st_mtime > before):
                time.sleep(0.002)
            time.sleep(0.04)
        else:
            assert target in iter(hear.recv, "")
        assert child.is_alive()
        child.kill()
        child.join()
        seen.add((target, (tmp_path / "state").exists()))
    assert ("training", True) in seen
    assert losses(tmp_path) == losses(tmp_path / "plain", checkpoint=False)


IDS = ["GER-14a", "GER-14b", "GER-14c", "GER-14d", "GER-14e"]
TINY = {"n_tokens": 6000, "vocabulary": 300, "context": 16, "epochs": 0.5, "n_fits": 2, "n_seeds": 2}


def judged(shown):
    return [verdict["id"] for verdict in support.carried(shown, claims.MIME)]


@pytest.mark.parametrize(("third", "size"), [("mixture", "llama-tiny"), ("accumulate_subsample", "gpt2-1m")])
def test_the_chapter_runs_on_a_text_of_the_reader_by_path(tmp_path, third, size):
    """The same notebook by papermill on a file used nowhere else: docstrings of the standard library."""
    import argparse
    import inspect
    import statistics

    members = [member for module in (argparse, statistics, subprocess, socket) for _, member in inspect.getmembers(module)]
    found = {inspect.getdoc(m) for m in members if inspect.isfunction(m) or inspect.isclass(m)} - {None}
    (tmp_path / "text").write_text("<|endoftext|>".join(sorted(found)), encoding="utf-8")
    shown = support.executed(
        "language_models", {"corpus": str(tmp_path / "text"), "third": third, "size": size, "first_epochs": 1.0, **TINY}
    )
    assert judged(shown) == IDS
    assert "text by path" in str(shown["corpus"])
    assert third.replace("_", "-") in str(shown["samples"])
    assert str(tmp_path) not in str(shown)


def test_the_rules_can_come_out_in_every_way():
    """GER-14a: twelve steps up, one of them down (the pool looks like that), the arms exchanged; GER-14c: luck as large as the bound."""
    steps, flat = np.ones(12), np.zeros(12)
    assert claims.ordered("GER-14a", before=flat, after=steps).verdict == "holds"
    assert claims.ordered("GER-14a", before=flat, after=np.append(steps[1:], -1)).verdict == "inconclusive"
    assert claims.ordered("GER-14a", before=steps, after=flat).verdict == "fails"
    assert claims.ordered("GER-14a", before=flat[:2], after=steps[:2]).verdict == "inconclusive"  # a smoke run
    gap, bound = np.array([[-0.7, -0.6, -0.5]]), np.full(3, -0.3)
    assert claims.below("GER-14c", gap, bound, np.full(3, -0.03)).verdict == "holds"
    assert claims.below("GER-14c", gap, bound, np.full(3, -0.4)).verdict == "inconclusive"
    assert claims.below("GER-14c", np.add(gap, [0, 0, 0.3]), bound, np.full(3, -0.03)).verdict == "fails"


official = pytest.mark.skipif(not os.environ.get("COLLAPSE_DATA"), reason="needs the official files: set COLLAPSE_DATA")


@pytest.mark.parametrize("corpus", ["python-docs", pytest.param("tinystories+novels", marks=official)])
def test_the_gpu_rung_on_the_cpu_at_a_tiny_size(corpus):
    """The paper's Llama with 12 million parameters for two fits of a few steps; the corpus of the rung where it is at hand."""
    rung = chapters.plan(
        "language_models", "gpu", TINY | {"n_tokens": 3000, "epochs": 0.2, "corpus": corpus, "device": "cpu"}
    ).overrides
    assert rung["size"] == "llama-12m"
    shown = support.executed("language_models", rung)
    assert judged(shown) == IDS  # the paper's own claims need its whole corpus
    assert corpus in str(shown["corpus"])
    assert "8,546,560 parameters" in str(shown["run"])  # with 300 tokens in place of 8,000


def test_the_room_of_all_arms_is_asked_before_training(tmp_path):
    """A run that keeps its fits is refused, in one sentence, where the disk has no room for every arm."""
    from papermill.exceptions import PapermillExecutionError

    huge = TINY | {"n_tokens": 50_000, "vocabulary": 400, "n_fits": 100, "n_seeds": 20, "size": "llama-126m"}
    needed = 4 * 100 * 3 * 20 * 100e6  # bytes, at least: a hundred models of over a hundred million weights in sixty runs
    if shutil.disk_usage(tmp_path).free > needed:
        pytest.skip("the disk has room for sixty runs of a hundred models")
    with pytest.raises(PapermillExecutionError, match=r"must have \S+ GB free for this run"):
        support.executed("language_models", huge | {"keep": str(tmp_path)})
    assert not list(tmp_path.glob("*/*-model"))
