"""The scan, the cuts and the exams of the chapters on pruning against their straightforward forms; pruned models against the layers kept."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers

from collapse_utils.pruning import distances, evaluation as exams, layers as pruning, pretrained
from collapse_utils.pruning.forks import lacking

RESULT = Path(__file__).with_name("pruning.json")
SHAPE = {"hidden_size": 192, "num_hidden_layers": 24, "num_attention_heads": 6, "intermediate_size": 384, "vocab_size": 2048}
ROWS, CONTEXT, BATCH = 64, 512, 2


def decoder(**changes):
    """A random decoder of 24 layers."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SHAPE | changes, max_position_embeddings=CONTEXT, tie_word_embeddings=True)
    return transformers.LlamaForCausalLM(config).eval()


def stored(model, ids):
    """The straightforward way: all hidden states of all layers kept, raw last one included, then compared pair by pair."""
    kept = []
    with torch.inference_mode(), distances.states(model) as found:
        for rows in torch.as_tensor(ids).split(BATCH):
            model.base_model(input_ids=rows, use_cache=False)
            kept.append(torch.stack(found))  # (L + 1, b, T, d)
    last = torch.cat([states[:, :, -1] for states in kept], dim=1)  # (L + 1, N, d)
    depth = len(last)
    cosine = [[torch.cosine_similarity(last[i], last[j], dim=-1) for j in range(depth)] for i in range(depth)]
    return np.array([[(torch.arccos(c.clamp(-1, 1)) / torch.pi).mean().item() for c in row] for row in cosine])


def probe(way: str) -> None:
    """One scan in a process of its own: prints seconds, peak memory above the start in bytes, and the distances."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    model, ids = decoder(), np.random.default_rng(0).integers(0, SHAPE["vocab_size"], (ROWS, CONTEXT))
    distances.distances(model, ids[:1, :8], np.ones((1, 8), bool))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before, started = _memory("VmRSS"), time.perf_counter()
    mask = np.ones(ids.shape, bool)
    found = stored(model, ids) if way == "stored" else distances.distances(model, ids, mask, batch=BATCH).mean
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak": _memory("VmHWM") - before, "distances": found.tolist()}))


def _memory(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def run(way: str) -> dict:
    """probe in a fresh process."""
    done = subprocess.run([sys.executable, __file__, way], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_scan(benchmark):
    """Streamed against stored: the same numbers, at most a quarter of the memory, no more time."""
    pairs = [(benchmark.pedantic(run, ("streamed",)), run("stored")), (run("streamed"), run("stored"))]
    streamed, kept = pairs[0]
    mine, theirs = np.array(streamed["distances"]), np.array(kept["distances"])
    off = ~np.eye(len(mine), dtype=bool)  # in float32 the arc cosine of 1 is not 0
    error = np.abs(mine - theirs)[off].max()
    memory = streamed["peak"] / kept["peak"]
    seconds = [min(pair[i]["seconds"] for pair in pairs) for i in (0, 1)]
    benchmark.extra_info.update(error=error, memory=round(memory, 3), time=round(seconds[0] / seconds[1], 2))
    print(f"\nscan: off by {error:.1e}, memory {memory:.3f}, time {seconds[0]:.2f} against {seconds[1]:.2f} s")
    assert error < 1e-5
    assert memory < 0.25
    assert seconds[0] < 1.1 * seconds[1]  # no worse, as far as two runs tell


def test_time_and_memory_are_linear_in_layers(benchmark):
    """One thread's seconds a token and bytes of weights of deep-thin against the layers kept; the result that the chapter reads."""
    torch.set_num_threads(1)
    model, _ = pretrained.load("deep-thin")
    depth = len(pruning.stack(model))
    ids = torch.as_tensor(np.random.default_rng(0).integers(0, model.config.vocab_size, (8, 128)))
    layers = list(range(2, depth + 1, 2))
    models = [pruning.prune(model, range(k)) for k in layers]
    head = pruning.prune(model, [0])
    pruning.stack(head)[0] = _Nothing()
    benchmark.pedantic(models[-1], (ids,))
    seconds = np.array([[_time(candidate, ids) for candidate in [head, *models]] for _ in range(24)])
    seconds = np.sort(seconds, axis=0)[:6].T / ids.numel()  # the fastest quarter: other work on the machine only adds
    size = [sum(w.numel() * w.element_size() for w in candidate.parameters()) for candidate in [head, *models]]
    found = {
        "layers": layers, "seconds": seconds[1:].tolist(), "empty": seconds[0].tolist(), "bytes": size[1:], "bytes_empty": size[0],
        "rows": 8, "context": 128, "threads": 1,
    }  # fmt: skip
    RESULT.write_text(json.dumps(found, indent=1))
    r2 = np.corrcoef(layers, seconds[1:].mean(axis=1))[0, 1] ** 2
    benchmark.extra_info["r2"] = round(r2, 4)
    print(f"\nlatency: R² {r2:.4f}, {1e6 * seconds[0].mean():.1f} to {1e6 * seconds[-1].mean():.1f} µs a token")
    assert r2 >= 0.98


class _Nothing(torch.nn.Module):
    def forward(self, hidden_states, **kwargs):
        return hidden_states


def _time(model, ids) -> float:
    with torch.inference_mode():
        started = time.thread_time()  # one thread's own time: other work on the machine does not count
        model(input_ids=ids, use_cache=False)
        return time.thread_time() - started


def _chapter():
    """The shipped decoder, rows, questions of four choices, and the layers that the chapters' cuts keep."""
    torch.set_num_threads(1)
    model, _ = pretrained.load("deep-thin")
    depth, rng = len(pruning.stack(model)), np.random.default_rng(0)
    ids = rng.integers(1, model.config.vocab_size, (16, 128))
    questions = rng.integers(1, model.config.vocab_size, (16, 4, 60))
    questions[..., :48] = questions[:, :1, :48]
    gone = [range(i, i + n) for n in (1, depth // 4, depth // 2) for i in range(depth - n + 1)]
    return model, ids, questions, [pruning.without(depth, layers) for layers in gone]


def _in_turns(ways: dict, rounds: int = 2) -> tuple[dict, dict]:
    """{name: least CPU seconds} of the two forms of each task, in turns, and {name: what they return}."""
    best, results = {name: [np.inf, np.inf] for name in ways}, {name: [None, None] for name in ways}
    for name, i in [(name, i) for _ in range(rounds) for name in ways for i in (0, 1)]:
        started = time.process_time()
        results[name][i] = np.array(ways[name][i]())
        best[name][i] = min(best[name][i], time.process_time() - started)
    return best, results


def test_exams_and_scan(benchmark):
    """Distances, losses of every block of 1, 4 and 8 layers, and a cloze, against one row, one question, one cut model at a time."""
    model, ids, questions, kept = _chapter()
    mask, depth = np.ones_like(ids, bool), len(pruning.stack(model))
    kinds = [distances.Kind(), distances.Kind(normed=True), distances.Kind(distances.influence, every=True)]
    similar = [pruning.without(depth, range(2, 2 + n)) for n in range(0, depth - 2, 2)]

    def log_share(network, row, first):
        with torch.inference_mode():
            share = network(input_ids=torch.as_tensor(row[None]), use_cache=False).logits[0, first - 1 : -1].log_softmax(dim=-1)
        return share.gather(-1, torch.as_tensor(row[first:, None])).sum().item()

    def scanned():
        alone = [(ids[i : i + 1], mask[i : i + 1]) for i in range(len(ids))]
        each = lambda kind, row: distances.distances(model, *row, kind.metric, kind.every, kind.normed).mean  # noqa: E731
        return [np.mean([each(kind, row) for row in alone], axis=0) for kind in kinds]

    def one_cut():
        return np.array([[-log_share(pruned, row, 1) for row in ids] for pruned in (pruning.prune(model, k) for k in kept)])

    def one_question():
        networks = [pruning.prune(model, layers) for layers in similar]
        return np.array([[[log_share(network, row, 48) for row in four] for four in questions] for network in networks])

    ways = {
        "scan": (scanned, lambda: [found.mean for found in distances.scan(model, ids, mask, kinds)]),
        "cuts": (one_cut, lambda: exams.cut_losses(model, [lacking(depth, k) for k in kept], ids, mask)),
        "exams": (one_question, lambda: exams.cut_choices(model, [lacking(depth, k) for k in similar], questions, 48)),
    }
    best, results = _in_turns(ways)
    benchmark.pedantic(ways["scan"][1])
    each = {name: round(naive / ours, 2) for name, (naive, ours) in best.items()}
    whole = round(np.divide(*np.sum(list(best.values()), axis=0)), 2)
    errors = {name: np.abs(a - b).max() for name, (a, b) in results.items()}
    benchmark.extra_info.update(ratio=whole, **each, error=max(errors.values()))
    print(f"\nexams and scan: {whole} times one at a time (wanted: 5; {each}), apart by {max(errors.values()):.1e}")
    assert max(errors.values()) < 1e-3  # nats in sums over 127 tokens
    assert (results["exams"][0].argmax(-1) == results["exams"][1].argmax(-1)).all()


def test_cuts_that_fork(benchmark):
    """The same cuts of the same rows in batches, each cut model by itself in batches as large: what sharing alone gives."""
    model, ids, _, kept = _chapter()
    mask, depth = np.ones_like(ids, bool), len(pruning.stack(model))
    models = [pruning.prune(model, layers) for layers in kept]
    cuts = [lacking(depth, layers) for layers in kept]
    apart, shared = lambda: [exams.losses(one, ids, mask)[0] for one in models], lambda: exams.cut_losses(model, cuts, ids, mask)
    best, results = _in_turns({"cuts": (apart, shared)})
    ratio = np.divide(*best["cuts"])
    benchmark.pedantic(exams.cut_losses, (model, cuts[:2], ids, mask))
    count = sum(map(len, kept)) / len({layers[:i] for layers in kept for i in range(1, len(layers) + 1)})
    benchmark.extra_info.update(ratio=round(ratio, 2), layers=round(count, 2))
    print(f"\ncuts: {ratio:.2f} times each by itself; the layers alone would give {count:.2f}")
    assert np.allclose(*results["cuts"], rtol=1e-5)


def test_loading_the_shipped_decoder(benchmark):
    """pretrained.load, with its checks, over transformers alone on the same folder: the least of five in turns."""
    folder, taken = pretrained.SHIPPED / "deep-thin", {"ours": [], "library": []}

    def library():
        (
            transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            transformers.AutoTokenizer.from_pretrained(folder),
        )

    def both():
        for name, call in (("ours", lambda: pretrained.load("deep-thin")), ("library", library)):
            started = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - started)

    both()
    benchmark.pedantic(both, rounds=5)
    ours, alone = (min(seconds[1:]) for seconds in taken.values())
    benchmark.extra_info["ratio"] = round(ours / alone, 2)
    print(f"\nload: {ours / alone:.2f} times transformers' own loading, {ours:.2f} s (wanted: 1.5, 1 s)")


if __name__ == "__main__":
    probe(sys.argv[1])
