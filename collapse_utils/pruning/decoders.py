"""A decoder of `transformers` that is to be cut or quantised: its layers, the configuration of a few of them, four bits."""

import functools
import hashlib
import json
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn


def stack(model) -> nn.ModuleList:
    """Return the model's decoder layers. Raises ValueError for a model without a stack of them, or with several lists in its place."""
    depth, found, within = getattr(model.config, "num_hidden_layers", None), [], set()
    for module in model.modules():  # from outside in: a list of experts lies within a layer
        if isinstance(module, nn.ModuleList) and len(module) == depth and module not in within:
            found.append(module)
            within |= set(module.modules())
    if len(found) != 1:
        raise ValueError(f"pruning: the model must have a stack of decoder layers; got {type(model).__name__} without one.")
    return found[0]


def batches(model, ids, rows: int | None = None) -> Iterator[slice]:
    """Yield slices of token rows (N, T) for evaluation, of as many rows, or of as many tokens as suit the model's device.

    On a CPU 512 tokens: then what a layer computes stays in the cache and in memory that the process has already.
    """
    tokens = 512 if next(model.parameters()).device.type == "cpu" else 4096
    rows = rows or max(1, tokens // np.shape(ids)[1])
    yield from (slice(start, start + rows) for start in range(0, len(ids), rows))


def keep(model, layers: Sequence[int]) -> None:
    """Leave a model, in place, with these of its layers alone, in this order.

    What holds a layer's number gets the new one, what holds the number of layers that, and lists with an entry a layer are cut.
    """
    old = stack(model)
    numbers, new = _numbers(old), nn.ModuleList(old[layer] for layer in layers)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if child is old:
                setattr(module, name, new)
    for module in model.modules():
        for name, value in vars(module).items():
            if type(value) is int and value == len(old) and "layer" in name and name not in numbers:
                setattr(module, name, len(layers))
            if isinstance(value, list) and len(value) == len(old) and _plain(value):
                setattr(module, name, [value[layer] for layer in layers])
    for i, layer in enumerate(new):
        for module in layer.modules():
            for name in numbers & vars(module).keys():
                if getattr(module, name) is not None:
                    setattr(module, name, i)
    try:
        model.config.num_hidden_layers = len(layers)
    except NotImplementedError:  # a configuration of an encoder and a decoder
        raise ValueError(f"prune: the configuration must let its depth be set; got a {type(model.config).__name__}.") from None


def settings(model, layers: Sequence[int]) -> dict:
    """Return what to change in the model's configuration, {name: value}, so that it describes these layers alone.

    A setting may be a list with one entry a layer, or of layers' numbers, a number of layers, a period. It is read in these
    ways until a model built from the configuration has the modules, shapes, constants and plain attributes of the given one
    with its layers cut; weights are not touched. Raises ValueError where no reading does: the cut model could not be saved.
    """
    return json.loads(_settings(type(model), type(model.config), _text(model.config), tuple(layers)))


def unpacked(model):
    """Return the model, its 4-bit layers told to leave their weights as they are stored, on every processor.

    Where a CPU has AVX512_BF16, bitsandbytes 0.50.2 repacks them at the first evaluation: other numbers (bfloat16 products),
    an error where a width is no multiple of 64, noise once they are merged, no gradient to what lies before the layer.
    """
    from bitsandbytes.nn import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False
    return model


@functools.lru_cache(maxsize=256)
def _settings(kind, config, text: str, layers: tuple[int, ...]) -> str:
    before = config.from_dict(json.loads(text)).to_dict()
    cut, cache = _empty(kind, config.from_dict(json.loads(text))), _cache(config.from_dict(json.loads(text)))
    depth = len(stack(cut))
    keep(cut, layers)
    wanted, alike = _parts(cut) | {"the cache": cache}, _alike(stack(cut))
    inside = next(f"{path}." for path, module in cut.named_modules() if module is stack(cut))
    options = {path: found for path, value in _leaves(before) if (found := _readings(value, depth, layers, alike))}
    options[(config.attribute_map.get("num_hidden_layers", "num_hidden_layers"),)] = [len(layers)]

    def build(chosen):
        """The configuration, and what a model built from it has that differs from the cut one."""
        try:
            new = config.from_dict(_with(before, chosen))
            saved = config.from_dict(json.loads(_text(new)))
            return new, _apart(wanted, _parts(_empty(kind, saved)) | {"the cache": _cache(saved)}, inside)
        except Exception as error:  # the ways in which a model cannot be built from a configuration are the library's
            reason = f"{type(error).__name__}, {str(error).strip().splitlines()[-1].strip() if str(error) else 'without a word'}"
            return None, dict.fromkeys(wanted) | {"the model": (reason, kind.__name__)}

    chosen = {path: found[0] for path, found in options.items()}
    new, apart = build(chosen)
    irregular = [  # no period, but a list of the layers of one sort
        {path: 1, other: group}
        for group in alike
        for path in options
        for other in options
        if 1 in options[path] and group in options[other]
    ]
    while apart:
        tries = [{path: value} for path, found in options.items() for value in found if value != chosen[path]]
        best = min((chosen | step for step in tries + irregular), key=lambda other: len(build(other)[1]), default=chosen)
        if len(build(best)[1]) >= len(apart):
            name, (now, then) = next(iter(apart.items()))
            raise ValueError(
                f"prune: the configuration of {kind.__name__} must be able to describe the layers kept, {list(layers)}; saved and "
                f"loaded again, {name} would be {now}, not {then}; keep other layers, or take another model."
            )
        chosen, (new, apart) = best, build(best)
    return json.dumps({name: value for name, value in new.to_dict().items() if value != before.get(name)})


def _numbers(layers: nn.ModuleList) -> set[str]:
    """The names of attributes that hold the number of the layer, wherever they occur."""
    held = defaultdict(set)
    for i, layer in enumerate(layers):
        for module in layer.modules():
            for name, value in vars(module).items():
                if type(value) is int:
                    held[name].add((i, value))
    return {name for name, pairs in held.items() if len({i for i, _ in pairs}) > 1 and all(i == value for i, value in pairs)}


def _empty(kind, config):
    """A model of this configuration without memory for its weights; constants have their values."""
    import accelerate
    from transformers.initialization import no_init_weights

    nothing = accelerate.init_empty_weights(include_buffers=False)
    with nothing, no_init_weights(), torch.random.fork_rng(devices=[]), warnings.catch_warnings(action="ignore"):
        return kind(config).eval()


def _parts(model) -> dict[str, object]:
    """{place: value} of what the model computes with: classes, shapes of weights, constants, plain attributes."""
    found = {}
    for path, module in model.named_modules():
        inner = f"{path}." if path else ""
        found[path or "the model"] = type(module).__name__
        found |= {inner + name: tuple(weight.shape) for name, weight in module.named_parameters(recurse=False)}
        for name, value in module.named_buffers(recurse=False):
            passing = name in module._non_persistent_buffers_set and not value.is_meta
            found[inner + name] = hashlib.sha256(value.float().numpy().tobytes()).hexdigest() if passing else tuple(value.shape)
        plain = {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
        found |= {inner + name: value for name, value in plain.items() if _plain(value)}
    return found


def _plain(value) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    return value is None or isinstance(value, bool | int | float | str)


def _apart(wanted: dict, found: dict, inside: str) -> dict[str, tuple]:
    """{place: (what is, what should be)} where two models differ; outside the layers, what only the dropped ones needed may be gone."""
    apart = {place: (found.get(place), wanted.get(place)) for place in wanted | found if wanted.get(place) != found.get(place)}

    def spare(place, now, then):
        part = type(now) is type(then) and isinstance(now, list | dict) and set(map(str, now)) < set(map(str, then))
        return not place.startswith(inside) and (now is None or part)

    return {place: pair for place, pair in apart.items() if not spare(place, *pair)}


def _cache(config) -> bool:
    """Whether the library's cache for this configuration can count its tokens: it needs a layer with attention."""
    import transformers

    try:
        return transformers.DynamicCache(config=config).get_seq_length() == 0
    except ValueError:
        return False


def _text(config) -> str:
    """What save_pretrained would write of a configuration."""
    return json.dumps(config.to_diff_dict(), default=str)


def _alike(layers: nn.ModuleList) -> list[list[int]]:
    """The layers' numbers by what the layers are made of; nothing where they are all made of the same."""
    groups = defaultdict(list)
    for i, layer in enumerate(layers):
        groups[tuple((path, type(module)) for path, module in layer.named_modules())].append(i)
    return list(groups.values()) if len(groups) > 1 else []


def _leaves(settings: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for name, value in settings.items():
        if isinstance(value, dict) and not _by_layer(value):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _by_layer(value) -> bool:
    """Whether this is {layer's number: something}."""
    return isinstance(value, dict) and bool(value) and all(str(key).isdigit() for key in value)


def _with(settings: dict, chosen: dict[tuple[str, ...], object]) -> dict:
    """A copy of nested settings in which the values at some paths are others."""
    found = json.loads(json.dumps(settings))
    for (*path, last), value in chosen.items():
        functools.reduce(dict.__getitem__, path, found)[last] = value
    return found


def _readings(value, depth: int, layers: Sequence[int], alike: list[list[int]]) -> list:
    """What a setting of a model of `depth` layers may become for those kept, the likeliest first; nothing if it has no say."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= depth:
        first, last = sum(k < value for k in layers), sum(k >= depth - value for k in layers)
        return list(dict.fromkeys([value, first, last, 1]))  # a size or a period, or that many first or last layers
    if _by_layer(value):
        given = {int(key): entry for key, entry in value.items()}
        return [{i: given[k] for i, k in enumerate(layers) if k in given}]
    if not isinstance(value, list):
        return []
    found = [[value[k] for k in layers]] if len(value) == depth else []  # an entry a layer
    if all(type(entry) is int and 0 <= entry <= depth for entry in value):  # layers' numbers, from 0 or from 1
        found += [[i + first for i, k in enumerate(layers) if k + first in value] for first in (0, 1)] + alike
    if all(isinstance(entry, list) and len(entry) == 2 and type(entry[1]) is int for entry in value):  # [pattern, times]
        each = [kind for pattern, times in value for kind in (pattern if isinstance(pattern, list) else [pattern]) * times]
        found += [[[[each[k]], 1] for k in layers]] if len(each) == depth else []
    return found
