"""Causal language models in the loop: transformers' GPT-2 and Llama from configs, pretrained from scratch on token rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from collapse_utils import training
from collapse_utils.language import decoding
from collapse_utils.language.tokens import END, counted, lengths
from collapse_utils.training import Recipe, next_tokens, order, sha256, summed_loss, train


class Size(NamedTuple):
    """A model's family and shape; positions is its longest context."""

    family: str
    width: int
    layers: int
    heads: int
    inner: int
    positions: int


SIZES = {
    "llama-tiny": Size("llama", 32, 1, 2, 128, 512),
    "llama-small": Size("llama", 64, 3, 2, 256, 512),
    "llama-1m": Size("llama", 128, 4, 4, 512, 512),
    "gpt2-1m": Size("gpt2", 128, 4, 4, 512, 512),
    # The four of Gerstgrasser 2024, 2404.01413: with 8,000 tokens exactly as many parameters; heads are not published.
    "gpt2-9m": Size("gpt2", 256, 8, 4, 1024, 2048),
    "llama-12m": Size("llama", 256, 8, 4, 1024, 2048),
    "llama-42m": Size("llama", 512, 8, 8, 2048, 2048),
    "llama-126m": Size("llama", 768, 12, 12, 3072, 2048),
}


def build(size: str, vocabulary: int, device: str = "cpu"):
    """Return a `transformers` causal language model of a size in SIZES, its weights drawn from torch's generator.

    GPT-2 ties its embeddings, Llama does not; no dropout. device "meta" builds the shapes alone.
    """
    if size not in SIZES:
        raise ValueError(f"build: size must be one of {', '.join(SIZES)}; got {size!r}.")
    import transformers

    shape = SIZES[size]
    common = {"vocab_size": vocabulary, "bos_token_id": END, "eos_token_id": END, "use_cache": False}
    if shape.family == "gpt2":
        config = transformers.GPT2Config(
            n_embd=shape.width, n_layer=shape.layers, n_head=shape.heads, n_inner=shape.inner, n_positions=shape.positions,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **common,
        )  # fmt: skip
    else:
        config = transformers.LlamaConfig(
            hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
            intermediate_size=shape.inner, max_position_embeddings=shape.positions, tie_word_embeddings=False, **common,
        )  # fmt: skip
    network = {"gpt2": transformers.GPT2LMHeadModel, "llama": transformers.LlamaForCausalLM}[shape.family]
    with torch.device(device):
        return network(config)


def n_parameters(model: torch.nn.Module) -> int:
    """Return the number of parameters, tied ones counted once."""
    return sum(p.numel() for p in model.parameters())


def layer_weights(size: str) -> int:
    """Return the number of weights in the layers of a size: those of attention and of the two or three maps after it."""
    shape = SIZES[size]
    maps = 3 if shape.family == "llama" else 2
    return shape.layers * shape.width * (4 * shape.width + maps * shape.inner)


def kept_bytes(size: str, vocabulary: int, context: int, n_fits: int, n_rows: int) -> int:
    """Return what a run of n_fits models with n_rows sampled rows each takes on a disk, with the state of one training."""
    weights = 2 * vocabulary * SIZES[size].width + layer_weights(size)
    return n_fits * (4 * weights + 2 * context * n_rows) + 16 * weights


def cross_entropy(model, rows: np.ndarray) -> tuple[torch.Tensor, int]:
    """Return the summed negative log likelihood of rows in nats, and the number of tokens that count; padding does not.

    The model reads END and then the row; a batch is trimmed to its longest row.
    """
    ids, mask = _read(model, rows)
    hidden = model.base_model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state.flatten(0, 1)
    total = summed_loss(hidden, model.get_output_embeddings().weight, ids[:, 1:].flatten(), mask.flatten())
    return total, int(mask.sum())


@dataclass
class LanguageModel:
    """A pretrained model: sample(n, rng) returns n rows (n, context) as the fitted ones; losses (steps,) of its training."""

    network: Any
    context: int
    temperature: float = 1.0
    batch: int = 256
    losses: np.ndarray | None = None

    def sample(self, n: int, rng: np.random.Generator, prompt=()) -> np.ndarray:
        """Return n rows drawn token by token at the model's temperature, (n, context) uint16, each stopped at its END."""
        pick = decoding.sampler(self.context, self.temperature, rng)
        return decoding.decode(self.network.eval(), n, self.context, pick, prompt, self.batch)

    def loss(self, rows: np.ndarray, batch: int = 64) -> float:
        """Return the cross-entropy of held-out rows at temperature 1, in nats per token."""
        scores = self.scores(rows, batch)
        return float(scores["loss"].mean())

    def scores(self, rows: np.ndarray, batch: int = 64) -> dict[str, np.ndarray]:
        """Return for each token that counts, in order: the token, its loss and the entropy of the prediction, in nats."""
        found = {"token": [], "loss": [], "entropy": []}
        self.network.eval()
        with torch.inference_mode():
            for start in range(0, len(rows), batch):
                ids, mask = _read(self.network, rows[start : start + batch])
                logits, losses = next_tokens(self.network, ids)
                log_share = torch.log_softmax(logits[mask], dim=-1)
                found["token"].append(ids[:, 1:][mask])
                found["loss"].append(losses[mask])
                found["entropy"].append(-(log_share.exp() * log_share).sum(-1))
        return {name: torch.cat(parts).cpu().double().numpy() for name, parts in found.items()}

    def means(self, rows: np.ndarray, groups: dict[str, np.ndarray]) -> dict[str, float]:
        """Return mean scores of held-out rows in nats per token: loss, entropy, sure (their difference), and the loss by group.

        groups: masks (V,) of tokens. Above zero, sure says that the model expects to lose less than it does.
        """
        scores = self.scores(rows)
        found = {name: scores[name].mean() for name in ("loss", "entropy")}
        found["sure"] = found["loss"] - found["entropy"]
        tokens = scores["token"].astype(int)
        return found | {name: scores["loss"][mask[tokens]].mean() for name, mask in groups.items()}

    def save(self, folder: Path) -> None:
        """Write the weights and the training losses into a folder (safetensors)."""
        training.save(self.network, self.losses, folder)


@dataclass(frozen=True)
class LanguageFit:
    """fit(data, rng) for feedback_loop: a fresh model of this size, pretrained on token rows, wrapped for sampling.

    temperature is that of the model's samples. checkpoint, a file, keeps the state of a fit that may be killed. load(folder)
    reads a saved model back. Raises ValueError, before any training, where the size, the context or the temperature cannot be.
    """

    size: str
    vocabulary: int
    context: int
    recipe: Recipe
    temperature: float = 1.0
    device: str = "cpu"
    checkpoint: Path | None = None

    def __post_init__(self):
        if self.size not in SIZES:
            raise ValueError(f"fit: size must be one of {', '.join(SIZES)}; got {self.size!r}.")
        if not 2 <= self.context <= (most := SIZES[self.size].positions):
            raise ValueError(f"fit: the context must lie between 2 and {most} for {self.size}; got {self.context}.")
        if not self.temperature > 0:
            raise ValueError(f"fit: the temperature must be positive; got {self.temperature}.")

    def __call__(self, rows, rng: np.random.Generator) -> LanguageModel:
        if len(rows) == 0 or rows.shape[1] != self.context:
            raise ValueError(f"fit: rows must be (n, {self.context}) with n > 0; got {rows.shape}.")
        seed = int(rng.integers(2**63))
        steps = order(lengths(rows), self.recipe, rng)
        model = self._fresh(seed)
        key = f"{seed} {self.size} {sha256(rows)}" if self.checkpoint else ""
        losses = train(
            model, lambda model, index, step: cross_entropy(model, rows[index]), steps, self.recipe, self.checkpoint, key=key
        )
        return LanguageModel(model, self.context, self.temperature, losses=losses)

    def load(self, folder: Path) -> LanguageModel:
        """Return the model that LanguageModel.save wrote."""
        model = self._fresh(0)
        return LanguageModel(model, self.context, self.temperature, losses=training.load(model, folder))

    def _fresh(self, seed: int):
        torch.manual_seed(seed)
        return build(self.size, self.vocabulary).to(self.device)


def _read(model, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """END and the tokens (b, 1 + L) of rows, L being the longest, and the mask (b, L) of those that count."""
    mask = counted(rows)
    longest = int(mask.sum(axis=1).max())
    device = next(model.parameters()).device
    ids = torch.from_numpy(np.pad(rows[:, :longest], ((0, 0), (1, 0)), constant_values=END).astype(np.int64))
    return ids.to(device), torch.from_numpy(mask[:, :longest]).to(device)
