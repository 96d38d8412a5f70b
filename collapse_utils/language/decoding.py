"""Batched ancestral sampling from GPT-2 and Llama models: fused weights, one static cache, rows dropped as they end."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from collapse_utils.language.tokens import END


def decode(model, n: int, length: int, pick: Callable, prompt=(), batch: int = 256) -> np.ndarray:
    """Return n rows of at most `length` tokens, (n, length) uint16, each stopped at its END.

    pick(logits, rows, step) chooses the next tokens (b,) from logits (b, V), rows (b,) being the rows' numbers in 0 … n−1.
    prompt: tokens that every row begins with. Raises ValueError where length exceeds the model's context, or the prompt the length.
    """
    if len(prompt) > length:
        raise ValueError(f"decode: a prompt must fit the rows of {length} tokens; got {len(prompt)}.")
    if length > model.config.max_position_embeddings:
        raise ValueError(f"decode: rows must fit the model's context {model.config.max_position_embeddings}; got {length}.")
    found = np.full((n, length), END, np.uint16)
    found[:, : len(prompt)] = prompt
    with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=model.device.type == "cuda"):
        network = (_GPT2 if model.config.model_type == "gpt2" else _Llama)(model)
        for start in range(0, n, batch):
            _decode_batch(network, found, np.arange(start, min(start + batch, n)), pick, len(prompt))
    return found


def sampler(length: int, temperature: float, rng: np.random.Generator) -> Callable:
    """Return a pick for decode that draws from softmax(logits/temperature) by one uniform number a row and step.

    The number is a hash of the row and the step (splitmix64, Steele, Lea, Flood 2014) from one seed drawn here, the same in
    every batch. Logits are the same up to rounding: with another batch size a row can part where a draw falls within
    rounding of the border between two tokens. Raises ValueError unless 0 < temperature.
    """
    if not temperature > 0:
        raise ValueError(f"sampler: the temperature must be positive; got {temperature}; use greedy for its limit 0.")
    seed = rng.integers(2**63, dtype=np.uint64)

    def pick(logits, rows, step):
        share = torch.softmax(logits.float() if temperature == 1 else logits.float() / temperature, dim=-1)  # (b, V)
        return _drawn(share, torch.from_numpy(_uniform(seed, rows * length + step)).to(logits.device)[:, None])

    return pick


def _drawn(share: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The tokens (b,) at which the running sums of shares (b, V) pass u (b, 1), a fraction of them all; none of no share.

    Summed by blocks of about √V tokens first, then within one block: the running sum of all tokens cannot be vectorised.
    """
    width = math.isqrt(share.shape[1])
    blocks = F.pad(share, (0, -share.shape[1] % width)).unflatten(1, (-1, width))  # (b, V/width, width)
    ends = blocks.sum(dim=2).cumsum(dim=1)
    u = u * ends[:, -1:]
    block = torch.searchsorted(ends, u, right=True).clamp_(max=ends.shape[1] - 1)  # (b, 1)
    inside = blocks[torch.arange(len(share), device=share.device), block[:, 0]].cumsum(dim=1)
    u = u - F.pad(ends, (1, 0)).gather(1, block)
    return (block * width + torch.searchsorted(inside, u.minimum(inside[:, -1:] * (1 - 2**-23)), right=True))[:, 0]


def _uniform(seed: np.uint64, counter: np.ndarray) -> np.ndarray:
    z = seed + counter.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def _decode_batch(network, found, rows, pick, given) -> None:
    length = found.shape[1]
    last, alive = torch.full((len(rows),), END, device=network.device), np.ones(len(rows), bool)
    cache = network.cache(len(rows), length)
    for step in range(length):
        logits = network(last, step, cache)  # (b, V)
        last = pick(logits, rows, step) if step >= given else torch.from_numpy(found[rows, step].astype(np.int64)).to(last.device)
        chosen = last.cpu().numpy()
        found[rows[alive], step] = chosen[alive]
        alive &= chosen != END
        if not alive.any():
            return
        if alive.mean() < 0.9:  # drop the rows that have ended, a tenth at a time
            index = torch.from_numpy(np.flatnonzero(alive)).to(last.device)
            rows, last, alive = rows[alive], last[index], alive[alive]
            cache = [(k[index], v[index]) for k, v in cache]


class _Network:
    """One step of decoding: tokens (b,) at position t and a cache in, logits (b, V) out."""

    def __init__(self, model, kv_heads: int):
        config = model.config
        self.device, self.heads, self.kv_heads = model.device, config.num_attention_heads, kv_heads
        self.head = config.hidden_size // self.heads
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.layers = []

    def cache(self, b: int, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        shape = (b, self.kv_heads, length, self.head)
        return [tuple(torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in "kv") for _ in self.layers]

    def attend(self, q, k, v, t: int, kept) -> torch.Tensor:
        keys, values = kept
        keys[:, :, t], values[:, :, t] = k, v
        asked = q.unflatten(1, (self.kv_heads, -1)) * self.head**-0.5  # (b, kv heads, heads that share them, d/h)
        share = torch.softmax(asked @ keys[:, :, : t + 1].mT, dim=-1)
        return (share @ values[:, :, : t + 1]).reshape(len(q), -1)  # (b, d)


class _GPT2(_Network):
    def __init__(self, model):
        super().__init__(model, model.config.num_attention_heads)
        body, self.out = model.transformer, model.lm_head.weight
        self.tokens, self.places, self.norm, self.layers = body.wte.weight, body.wpe.weight, body.ln_f, list(body.h)

    def __call__(self, token, t, cache):
        x = self.tokens[token] + self.places[t]  # (b, d)
        for layer, kept in zip(self.layers, cache, strict=True):
            q, k, v = layer.attn.c_attn(layer.ln_1(x)).view(len(x), 3, self.heads, self.head).unbind(1)  # (b, h, d/h)
            x = x + layer.attn.c_proj(self.attend(q, k, v, t, kept))
            x = x + layer.mlp.c_proj(F.gelu(layer.mlp.c_fc(layer.ln_2(x)), approximate="tanh"))
        return F.linear(self.norm(x), self.out)  # (b, V)


class _Llama(_Network):
    def __init__(self, model):
        config, body = model.config, model.model
        super().__init__(model, config.num_key_value_heads)
        self.tokens, self.out, self.norm = body.embed_tokens.weight, model.lm_head.weight, body.norm
        self.layers = [
            (
                layer.input_layernorm,
                torch.cat([layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight, layer.self_attn.v_proj.weight]),
                layer.self_attn.o_proj.weight,
                layer.post_attention_layernorm,
                torch.cat([layer.mlp.gate_proj.weight, layer.mlp.up_proj.weight]),
                layer.mlp.down_proj.weight,
            )
            for layer in body.layers
        ]
        places = torch.arange(config.max_position_embeddings, device=self.device)[None]
        self.cos, self.sin = (table[0] for table in body.rotary_emb(self.tokens[:1, None], places))  # (T, d/h)

    def _turn(self, x, t):
        a, b = x.chunk(2, dim=-1)
        return (x * self.cos[t] + torch.cat([-b, a], dim=-1) * self.sin[t]).to(self.dtype)

    def __call__(self, token, t, cache):
        x = self.tokens[token]  # (b, d)
        for (norm1, qkv, out, norm2, gate_up, down), kept in zip(self.layers, cache, strict=True):
            mixed = F.linear(norm1(x), qkv).view(len(x), self.heads + 2 * self.kv_heads, self.head)
            turned, v = mixed.split([self.heads + self.kv_heads, self.kv_heads], dim=1)  # (b, h, d/h)
            q, k = self._turn(turned, t).split([self.heads, self.kv_heads], dim=1)
            x = x + F.linear(self.attend(q, k, v, t, kept), out)
            gate, up = F.linear(norm2(x), gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(self.norm(x), self.out)  # (b, V)
