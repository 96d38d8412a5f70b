"""Train the deep, thin decoder that the pruning chapter takes apart, and write it as a folder that transformers reads.

    COLLAPSE_DATA=/some/mirror python -m shipped.deep_thin --threads 2

The text: the documentation inside the pinned packages (collapse_utils.language.docstrings; files held out) and TinyStories, its
training stories twice. Options make other ones (shipped/README.md has the bigger sister). A killed run goes on from its checkpoint. The run card, card.json, says what was read and reached.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from collapse_utils.language import docstrings, texts, tokens, transformer as language
from collapse_utils.pruning import pretrained
from collapse_utils.training import Recipe, optimizer, order, rate_at
from shipped.trigram import KneserNey

FOLDER = Path(__file__).parent / "deep-thin"
CONTEXT = 256
RECIPE = Recipe(rate=3e-3, epochs=1.6, batch=8)
SCHEDULES = ((1000, 3742), (2300, 2300))  # of the shipped run: the plan was shortened


def main(given: list[str] | None = None) -> None:
    """Train, judge against a trigram, and ship. Without options: the decoder that lies here."""
    options = parsed(given)
    torch.set_num_threads(options.threads)
    documents = reading(options.stories)
    tokenizer = tokens.tokenizer(documents["train"], options.vocabulary)
    rows = {part: tokens.rows(documents[part], tokenizer, CONTEXT) for part in ("docs", "stories", "docs test", "stories test")}
    training = np.concatenate([rows["docs"], rows["stories"], rows["stories"]])
    model, losses, seen = fit(training, options)
    folder = FOLDER.with_name(options.name)
    ship(model, tokenizer, folder)
    shape = {
        name: getattr(model.config, name)
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    }
    card = {
        "command": " ".join(
            ["COLLAPSE_DATA=/some/mirror python -m shipped.deep_thin", *(sys.argv[1:] if given is None else given)]
        ),
        "shape": shape | {"vocab_size": options.vocabulary, "context": CONTEXT, "parameters": language.n_parameters(model)},
        "recipe": vars(recipe(options)) | {"schedules": schedules(options, training), "seed": options.seed, "steps": len(losses)},
        "text": documents["card"],
        "tokens": {"distinct": int(tokens.lengths(training).sum()), "seen": seen},
        "judged, nats per token": judged(rows, options.name, options.vocabulary),
        "threads": options.threads,
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", *documents["packages"])},
        "last losses": [round(float(part.mean()), 4) for part in np.array_split(losses[-100:], 10) if len(part)],
        "validation": documents["validation"],
        "held out": documents["held out"],
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1))


def parsed(given: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line; the defaults are those of the shipped decoder."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--threads", type=int, default=2)
    options.add_argument(
        "--scratch", type=Path, help="the checkpoint of a run that may be killed; by default its name, with .tmp"
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--name", default=FOLDER.name, help="of the folder beside this file; begins with deep-thin")
    options.add_argument("--stories", default="tinystories", help="the text beside the documentation, as texts.load names it")
    options.add_argument("--layers", type=int, default=16)
    options.add_argument("--width", type=int, default=96)
    options.add_argument("--heads", type=int, default=3)
    options.add_argument("--inner", type=int, default=256)
    options.add_argument("--vocabulary", type=int, default=2048)
    options.add_argument("--rate", type=float, default=RECIPE.rate)
    options.add_argument("--batch", type=int, default=RECIPE.batch)
    options.add_argument("--epochs", type=float, default=None, help="of a plain schedule; without it, the two of the shipped run")
    options.add_argument("--device", default="cpu")
    found = options.parse_args(given)
    found.scratch = found.scratch or Path(f"{found.name}.tmp")
    return found


def recipe(options) -> Recipe:
    """Return how to train."""
    return replace(RECIPE, rate=options.rate, batch=options.batch, epochs=options.epochs or RECIPE.epochs)


def schedules(options, rows: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Return pairs: up to a step, the learning rate of a run of so many steps."""
    steps = recipe(options).steps(len(rows))
    return SCHEDULES if options.epochs is None else ((steps, steps),)


def reading(source: str) -> dict:
    """Return the documents by part, and what the run card says of them."""
    kept, validation, held_out = split()
    stories = texts.load(source)
    docs = docstrings.read(kept)
    return {
        "docs": docs,
        "stories": stories.train,
        "train": docs + stories.train,
        "docs test": docstrings.read(held_out),
        "stories test": stories.test,
        "validation": validation,
        "held out": held_out,
        "packages": [{"sklearn": "scikit-learn"}.get(name, name) for name in docstrings.PACKAGES],
        "card": {"docstrings": docstrings.sha256(docs), source: stories.sha256},
    }


def split() -> tuple[list[str], list[str], list[str]]:
    """Return the names of documentation files to train on, to calibrate and heal with, and to test on.

    The rule is that of texts.load: files that share a passage of 24 words stay together.
    """
    found: dict[str, str] = {}
    for name in docstrings.names():
        found.setdefault(docstrings.read([name])[0], name)
    with tempfile.TemporaryDirectory() as folder:
        for i, document in enumerate(found):
            Path(folder, f"{i}.txt").write_text(document, encoding="utf-8")
        corpus = texts.load(folder)
    return tuple([found[document] for document in part] for part in (corpus.train, corpus.validation, corpus.test))


def fit(rows: np.ndarray, options) -> tuple:
    """Return the trained model, its losses and how many tokens it has seen."""
    import transformers

    torch.manual_seed(options.seed)
    config = transformers.LlamaConfig(
        vocab_size=options.vocabulary, max_position_embeddings=2 * CONTEXT, tie_word_embeddings=True, bos_token_id=tokens.END,
        eos_token_id=tokens.END, hidden_size=options.width, num_hidden_layers=options.layers, num_attention_heads=options.heads,
        intermediate_size=options.inner,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).to(options.device)
    plan, ladder = recipe(options), schedules(options, rows)
    steps = order(tokens.lengths(rows), plan, np.random.default_rng(options.seed))
    adam, losses = optimizer(model, plan), []
    if options.scratch.exists():
        state = torch.load(options.scratch, weights_only=True, map_location=options.device)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        losses = list(state["losses"].unbind())
    for step in range(len(losses), ladder[-1][0]):
        planned = next(planned for until, planned in ladder if step < until)
        for group in adam.param_groups:
            group["lr"] = rate_at(step, planned, plan)
        total, count = language.cross_entropy(model, rows[steps[step]])
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        adam.step()
        adam.zero_grad(set_to_none=True)
        losses.append((total / count).detach())
        if step % 200 == 199:
            print(f"step {step + 1}: {float(torch.stack(losses[-100:]).mean()):.3f} nats per token", flush=True)
            state = {"model": model.state_dict(), "adam": adam.state_dict(), "losses": torch.stack(losses)}
            torch.save(state, options.scratch.with_suffix(".partial"))
            options.scratch.with_suffix(".partial").replace(options.scratch)
    losses = torch.stack(losses).cpu().numpy()
    seen = int(sum(tokens.lengths(rows[step]).sum() for step in steps[: len(losses)]))
    return model, losses, seen


def judged(rows: dict, name: str, vocabulary: int) -> dict:
    """Return the shipped model's test losses beside those of a trigram of the same tokens, with the error over rows."""
    model = language.LanguageModel(pretrained.load(name)[0], CONTEXT)
    trigram = KneserNey(np.concatenate([rows["docs"], rows["stories"]]), vocabulary)
    found = {}
    for part in ("docs test", "stories test"):
        nats, counts = trigram.loss(rows[part])
        mine = np.bincount(np.nonzero(tokens.counted(rows[part]))[0], model.scores(rows[part])["loss"])
        better = (nats - mine) / counts.mean()
        found[part] = {
            "deep-thin": round(float(mine.sum() / counts.sum()), 4),
            "trigram": round(float(nats.sum() / counts.sum()), 4),
            "error of the difference": round(float(better.std(ddof=1) / np.sqrt(len(better))), 4),
        }
    return found


def ship(model, tokenizer, folder: Path) -> None:
    """Write weights in bfloat16, configuration and tokenizer in the layout of transformers."""
    import transformers

    model.cpu().to(torch.bfloat16).save_pretrained(folder)
    mark = tokens.MARK
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=mark, eos_token=mark, pad_token=mark, model_max_length=2 * CONTEXT
    ).save_pretrained(folder)


if __name__ == "__main__":
    main()
