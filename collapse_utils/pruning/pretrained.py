"""A trained decoder of `transformers`, found by name: the one that is shipped, one in a local folder, or one on the hub."""

import hashlib
import os
import socket
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import torch

from collapse_utils import mirror
from collapse_utils.pruning.decoders import settings, stack, unpacked
from collapse_utils.pruning.layers import without

SHIPPED = mirror.SHIPPED


def load(model_id: str, device: str = "cpu"):
    """Return the model on a device, in float32 and evaluation mode, and its tokenizer: deep-thin, a local folder, or a name on the hub.

    deep-thin is the decoder that lies in shipped/, with the command that trained it and that for a bigger sister, deep-thin-24.
    Weights are read from safetensors only, and no code of the model's folder is run. Raises OSError, within seconds, for a folder
    without weights and for a hub that cannot be reached, ValueError for a tokenizer or a model that cannot serve or be read, and for
    one whose configuration cannot describe it without its middle layer (decoders.settings).
    """
    transformers = _quiet()
    ours = model_id.startswith("deep-thin")
    folder = SHIPPED / model_id if ours else Path(os.path.expandvars(model_id)).expanduser()
    if ours or folder.is_dir():
        how = "train it as shipped/README.md says" if ours else "write it with save_pretrained"
        for needed in ("config.json", "*.safetensors", "tokenizer*.json"):
            if not any(folder.glob(needed)):
                raise OSError(f"load: {folder} must hold {needed}; no such file; {how}.")
    else:
        folder = _download(model_id)
    from safetensors import SafetensorError

    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    except (ValueError, KeyError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"load: {model_id} must be a causal language model that transformers knows; got: {reason}") from None
    depth = len(stack(model))
    if depth > 1:  # refused now, not after the distances
        settings(model, without(depth, [depth // 2]))
    if getattr(model, "is_loaded_in_4bit", False):  # as the folder's own configuration may ask for
        unpacked(model)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # tokenizers raises Exception itself
        reason = f"{type(error).__name__} {error}".splitlines()[0]
        raise ValueError(f"load: the tokenizer of {model_id} must be one that transformers reads; got: {reason}") from None
    return model.eval().to(device), tokenizer


def sha256(model) -> str:
    """Return the SHA-256 of a model's weights, in order, for the run card."""
    digest = hashlib.sha256()
    for weight in model.parameters():
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def _quiet():
    """transformers, without progress bars and without the warning that a notebook has no widgets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.utils.logging.disable_progress_bar()
    return transformers


def _download(model_id: str) -> Path:
    """The local folder of a model of the hub: from its cache, else downloaded if the hub answers within five seconds."""
    import huggingface_hub

    wanted = {"allow_patterns": ["*.json", "*.safetensors", "*.model", "*.txt"]}
    hint = "name a local folder with config.json, *.safetensors and a tokenizer instead"
    try:
        return Path(huggingface_hub.snapshot_download(model_id, local_files_only=True, **wanted))
    except (OSError, ValueError):
        pass
    address = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
            raise OSError("HF_HUB_OFFLINE is set")
        socket.create_connection((address.hostname, address.port or 443), timeout=5).close()
        return Path(huggingface_hub.snapshot_download(model_id, etag_timeout=5, **wanted))
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise OSError(f"load: {model_id!r} is no local folder and the hub cannot deliver it ({reason}); {hint}.") from None
