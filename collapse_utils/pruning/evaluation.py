"""What a small language model can be asked: its loss, a cloze from any text, BLiMP, LAMBADA; and where it falls to chance."""

import inspect
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.optimize import curve_fit
from scipy.stats import beta

from collapse_utils import mirror, moments
from collapse_utils.pruning.decoders import batches, stack
from collapse_utils.pruning.forks import fork
from collapse_utils.pruning.layers import prune, without
from collapse_utils.training import next_tokens

OFFICIAL = {  # name → file below $COLLAPSE_DATA, its digest
    "blimp": ("eval/blimp/BLiMP.zip", "sha256:172a1a714d72e72a89e8384dd531483f3d0f8a9aee3d33dccaf7992d8cecbb73"),
    "lambada": ("eval/lambada/lambada_test.jsonl", "sha256:4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226"),
}


def windows(documents: Sequence[str], tokenizer, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Return documents as ids (N, context), cut into rows, and the mask of their tokens; short last pieces are padded.

    Each row begins with the tokenizer's begin-of-text token, if it has one. Needs no padding token.
    """
    if not 2 <= context <= tokenizer.model_max_length:
        raise ValueError(f"windows: the context must lie between 2 and {tokenizer.model_max_length}; got {context}.")
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    step = context - len(begin)
    encoded = [tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"] for document in documents]
    return padded([begin + row[k : k + step] for row in encoded for k in range(0, len(row), step) if len(row) - k > 1])


def pick(
    documents: Sequence[str], tokenizer, context: int, most: int, shift: int = 0, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `most` full rows, spread evenly over the documents, as ids and mask (see windows).

    Only every stride-th row from shift on is eligible, so that two picks can be disjoint.
    """
    ids, mask = windows(documents, tokenizer, context)
    full = np.flatnonzero(mask.all(axis=1))[shift::stride]
    chosen = full[np.linspace(0, len(full) - 1, min(most, len(full))).astype(int)]
    return ids[chosen], mask[chosen]


def padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of tokens as ids (N, longest), padded on the right with 0, and the mask of their tokens."""
    lengths = np.array([len(row) for row in rows])
    ids, mask = np.zeros((len(rows), lengths.max()), np.int64), np.arange(lengths.max()) < lengths[:, None]
    ids[mask] = np.concatenate(rows)
    return ids, mask


def likelihood(model, ids, mask, scored=None, batch: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return Σ ln p over the scored tokens of each row, in nats, and whether all of them were the model's first choice.

    scored (N, T) defaults to mask; a row's first token has no prediction and never counts.
    """
    total, first = np.zeros(len(ids)), np.zeros(len(ids), bool)
    with torch.inference_mode():
        for part, given, wanted in _parts(model, ids, mask, mask if scored is None else scored, batch):
            logits, losses = next_tokens(model, given)
            total[part] = -(losses.double() * wanted).sum(dim=1).cpu()
            first[part] = ((logits.argmax(dim=-1) == given[:, 1:]) | ~wanted).all(dim=1).cpu()
    return total, first


def losses(model, ids, mask, batch: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the summed loss of each row in nats and the number of its tokens that were predicted, (N,) each."""
    return cut_losses(model, [{}], ids, mask, batch)[0], mask[:, 1:].sum(axis=1)


def cut_losses(model, cuts: Sequence[Mapping[int, str]], ids, mask, batch: int | None = None) -> np.ndarray:
    """Return the summed loss of each row in nats under each cut of the model (forks), (cuts, N); see losses."""
    total = np.zeros((len(cuts), len(ids)))
    with torch.inference_mode():
        for part, given, wanted in _parts(model, ids, mask, mask, batch):
            read = lambda given=given, wanted=wanted: (next_tokens(model, given)[1].double() * wanted).sum(dim=1).cpu()  # noqa: E731
            total[:, part] = torch.stack(fork(model, cuts, read))
    return total


def _parts(model, ids, mask, scored, batch) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Batches as a slice of the rows, their ids (b, T) without common padding, and which of the tokens after the first count."""
    device = next(model.parameters()).device
    for part in batches(model, ids, batch):
        longest = int(np.flatnonzero(mask[part].any(axis=0))[-1]) + 1
        given, wanted = (torch.as_tensor(np.asarray(array[part, :longest]), device=device) for array in (ids, scored))
        yield part, given, wanted[:, 1:]


def cloze(ids, mask, given: int, asked: int, n_choices: int, rng: np.random.Generator) -> np.ndarray:
    """Return questions (N, n_choices, given + asked): the start of a row, then its own next tokens or those of other rows.

    The right answer is choice 0; wrong ones come from the same place of other rows, drawn without replacement. Rows that
    are too short are left out. Raises ValueError where fewer than n_choices remain.
    """
    rows = np.asarray(ids)[np.asarray(mask)[:, : given + asked].sum(axis=1) == given + asked]
    if len(rows) < n_choices:
        raise ValueError(f"cloze: needs at least {n_choices} rows of {given + asked} tokens; got {len(rows)}.")
    others = np.stack([rng.choice(len(rows) - 1, n_choices - 1, replace=False) for _ in rows])
    others += others >= np.arange(len(rows))[:, None]  # never the row itself
    source = np.column_stack([np.arange(len(rows)), others])  # (N, n_choices)
    start = np.broadcast_to(rows[:, None, :given], (*source.shape, given))
    return np.concatenate([start, rows[source][..., given : given + asked]], axis=-1)


def choose(model, questions: np.ndarray, given: int, batch: int | None = None) -> np.ndarray:
    """Return for each question the summed ln p of its choices after the first `given` tokens, (N, n_choices).

    The choices of a question share its first `given` tokens, which are read once: all in one row, where a choice sees these and
    itself; for a model that takes no such mask their keys and values are repeated; one that remembers in other ways (a state of
    linear attention, or nothing) reads each choice whole.
    """
    return cut_choices(model, [{}], questions, given, batch)[0]


def cut_choices(model, cuts: Sequence[Mapping[int, str]], questions, given: int, batch: int | None = None) -> np.ndarray:
    """Return what choose does under each cut of the model without some layers (forks), (cuts, N, n_choices).

    Raises ValueError for a cut that lacks a part of a layer.
    """
    if parts := {lack for cut in cuts for lack in cut.values()} - {"layer"}:
        raise ValueError(f"cut_choices: a cut must lack whole layers; got {', '.join(sorted(parts))}.")
    scores = np.empty((len(cuts), *questions.shape[:2]))
    device, packs = next(model.parameters()).device, _packs(model, questions[:1], given)
    models = [model] if packs else [prune(model, without(len(stack(model)), cut)) if cut else model for cut in cuts]
    with torch.inference_mode():
        for part in batches(model, questions[:, 0], batch):
            asked = torch.as_tensor(questions[part], device=device)  # (b, n_choices, T)
            if packs:
                found = fork(model, cuts, lambda asked=asked: _in_one_row(model, asked, given))
            else:
                found = [_one_after_the_other(pruned, asked, given) for pruned in models]
            scores[:, part] = torch.stack(found).cpu()
    return scores


def _in_one_row(model, asked: torch.Tensor, given: int) -> torch.Tensor:
    """Σ ln p of choices (b, n_choices, T) that stand side by side after their common beginning, (b, n_choices)."""
    n, choices, length = asked.shape
    each = length - given - 1  # tokens of a choice that predict its next
    branch = torch.cat([torch.full((given,), -1), torch.arange(choices).repeat_interleave(each)]).to(asked.device)
    place = torch.cat([torch.arange(given), torch.arange(given, length - 1).repeat(choices)]).to(asked.device)
    sees = ((branch < 0) | (branch == branch[:, None])) & (place <= place[:, None])
    row = torch.cat([asked[:, 0, :given], asked[..., given:-1].flatten(1)], dim=1)
    mask = sees.expand(n, 1, -1, -1)
    tail = {"logits_to_keep": 1 + choices * each, "use_cache": False}
    logits = model(input_ids=row, attention_mask=mask, position_ids=place.expand(n, -1), **tail).logits.float()
    first, later = logits[:, :1].expand(-1, choices, -1)[:, :, None], logits[:, 1:].unflatten(1, (choices, each))
    nats = _cross_entropy(later.flatten(0, 1), asked[..., given + 1 :].flatten(0, 1)).double().sum(dim=1)
    nats += _cross_entropy(first.flatten(0, 1), asked[..., given : given + 1].flatten(0, 1)).double().sum(dim=1)
    return -nats.view(n, choices)


def _one_after_the_other(model, asked: torch.Tensor, given: int) -> torch.Tensor:
    """The same of choices (b, n_choices, T) in rows of their own, (b, n_choices)."""
    choices, rows = asked.shape[1], asked[..., given:].flatten(0, 1)
    read = model(input_ids=asked[:, 0, :given], use_cache=True)
    if _keys_and_values(getattr(read, "past_key_values", None)):
        read.past_key_values.batch_repeat_interleave(choices)
        later = model(input_ids=rows[:, :-1], past_key_values=read.past_key_values, use_cache=True).logits
    else:
        later = model(input_ids=asked.flatten(0, 1), use_cache=False).logits[:, given:-1]
    first = read.logits[:, -1:].repeat_interleave(choices, dim=0)
    nats = _cross_entropy(torch.cat([first, later], dim=1).float(), rows)
    return -nats.double().sum(dim=1).view(-1, choices)


def _packs(model, question: np.ndarray, given: int) -> bool:
    """Whether a model takes a mask of its own and places of tokens: its class says so, and one question is scored alike in both ways."""
    takes = inspect.signature(model.forward).parameters
    scaled = getattr(model.config, "_attn_implementation", None) == "sdpa" and question.shape[-1] > given + 1
    if not scaled or not {"position_ids", "logits_to_keep", "attention_mask"} <= set(takes):
        return False
    asked = torch.as_tensor(question, device=next(model.parameters()).device)
    with torch.inference_mode():
        try:
            packed = _in_one_row(model, asked, given)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):  # whatever a model makes of such a mask
            return False
        return torch.allclose(packed, _one_after_the_other(model, asked, given), rtol=1e-4, atol=1e-3)


def right(scores: np.ndarray) -> np.ndarray:
    """Return whether choice 0 has the highest score, (N,); a tie is an error."""
    return scores[:, 0] > scores[:, 1:].max(axis=1)


def blimp(model, tokenizer, each: int = 20) -> np.ndarray:
    """Return for the first pairs of each of BLiMP's 67 sets whether the acceptable sentence is likelier: (67, each).

    Warstadt et al. 2020, 1912.00582; chance is 0.5; from $COLLAPSE_DATA. Raises OSError where it is not there.
    """
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    sentences = []
    with zipfile.ZipFile(_official("blimp")) as archive:  # beside data/ lie files of the system that packed it
        for name in sorted(name for name in archive.namelist() if name.startswith("data/") and name.endswith(".jsonl")):
            pairs = [json.loads(line) for line in archive.read(name).decode().splitlines()[:each]]
            sentences += [pair[side] for pair in pairs for side in ("sentence_good", "sentence_bad")]
    rows = [begin + tokenizer(sentence, add_special_tokens=False)["input_ids"] for sentence in sentences]
    good, bad = likelihood(model, *padded(rows))[0].reshape(-1, 2).T
    return (good > bad).reshape(-1, each)


def lambada(model, tokenizer, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Return for the first n passages the −ln p of the last word, and whether each of its tokens is the first choice.

    (n,) each; Paperno et al. 2016, 1606.06031; a passage longer than the model's context loses its beginning.
    """
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    lines = _official("lambada").read_text(encoding="utf-8").splitlines()[:n]
    passages = [json.loads(line)["text"].rsplit(" ", 1) for line in lines]
    rows, last = [], []
    for start, word in passages:
        given, end = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (start, " " + word))
        room = getattr(model.config, "max_position_embeddings", tokenizer.model_max_length) - len(begin) - len(end)
        rows.append(begin + given[-room:] + end)
        last.append(len(end))
    ids, mask = padded(rows)
    lengths = mask.sum(axis=1)[:, None]
    scored = mask & (np.arange(ids.shape[1]) >= lengths - np.array(last)[:, None])
    total, first = likelihood(model, ids, mask, scored)
    return -total, first


def official(model, tokenizer, each: int) -> pd.DataFrame:
    """Return exam, mean, se: right pairs of BLiMP (`each` of every set), right words of LAMBADA (ten times as many), −ln p of them.

    BLiMP's sets are fixed and its pairs drawn; the error of a share of words is the spread of Beta(right + 1, wrong + 1).
    """
    pairs, (nats, words) = blimp(model, tokenizer, each), lambada(model, tokenizer, 10 * each)
    sets = np.sqrt((pairs.var(axis=1) / max(each - 1, 1)).sum()) / len(pairs)
    share = beta.std(words.sum() + 1, (~words).sum() + 1)
    found = [("blimp", pairs.mean(), sets), ("lambada", words.mean(), share)]
    found += [("lambada-nats", nats.mean(), nats.std(ddof=1) / np.sqrt(len(nats)))]
    return pd.DataFrame(found, columns=["exam", "mean", "se"])


def logistic(f, fc: float, w: float, whole: float, chance: float):
    """Return c + (a_0 − c)/(1 + exp((f − f_c)/w)), from a_0 to chance c, half-way at the fraction f_c."""
    return chance + (whole - chance) / (1 + np.exp(np.clip((np.asarray(f) - fc) / w, -50, 50)))


def transition(fractions: np.ndarray, accuracy: np.ndarray, chance: float) -> np.ndarray:
    """Return the fraction f_c and the width w of the logistic curve nearest to the accuracies, the first that of the whole."""
    curve = lambda f, fc, w: logistic(f, fc, w, accuracy[0], chance)  # noqa: E731
    return curve_fit(curve, fractions, accuracy, p0=(0.3, 0.1), bounds=([-1, 1e-3], [3, 2]))[0]


@dataclass(frozen=True)
class Fall:
    """How accuracy falls to chance: the fraction fc half-way; the width, its error a bootstrap's; that of a straight decline."""

    fc: float
    width: moments.Moments
    straight: float


def fall(right: np.ndarray, fractions: np.ndarray, chance: float, rng: np.random.Generator, n: int = 200) -> Fall:
    """Return the transition of right answers (fractions, questions), from n draws of the questions with replacement."""
    draws = rng.integers(right.shape[1], size=(n, right.shape[1]))
    widths = np.array([transition(fractions, right[:, draw].mean(axis=1), chance)[1] for draw in draws])
    accuracy = right.mean(axis=1)
    fc, width = transition(fractions, accuracy, chance)
    spread = np.sqrt(n) * (widths - widths.mean())  # their standard error is the spread of the draws
    line = chance + (accuracy[0] - chance) * (1 - fractions)
    return Fall(fc, moments.of(width + spread[:, None]), transition(fractions, line, chance)[1])


def _keys_and_values(cache) -> bool:
    """Whether a cache holds nothing but keys and values, a row for each row of the batch."""
    from transformers import cache_utils

    kinds = (cache_utils.DynamicLayer, cache_utils.DynamicSlidingWindowLayer)
    return bool(getattr(cache, "layers", [])) and all(type(layer) in kinds for layer in cache.layers)


def _cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """−ln p of tokens (b, T) under logits (b, T, V), (b, T)."""
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape)


def _official(name: str) -> Path:
    return mirror.fetch(name, *OFFICIAL[name])
