"""Eight architectures of decoders as tiny random configurations, and models of them whose layers do something."""

import torch
import transformers

LAYERS, WIDTH, VOCABULARY = 6, 32, 64
COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
USUAL = COMMON | {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64,
}  # fmt: skip
FEW = {"num_key_value_heads": 1}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**USUAL, tie_word_embeddings=True),
    "mistral": lambda: transformers.MistralConfig(**USUAL, **FEW, sliding_window=4),
    "qwen2": lambda: transformers.Qwen2Config(**USUAL, **FEW, use_sliding_window=True, sliding_window=4, max_window_layers=3),
    "qwen3": lambda: transformers.Qwen3Config(**USUAL, **FEW, head_dim=16),
    "phi": lambda: transformers.PhiConfig(**USUAL),
    "gemma": lambda: transformers.GemmaConfig(**USUAL, **FEW, head_dim=16),
    "gpt2": lambda: transformers.GPT2Config(n_embd=WIDTH, n_layer=LAYERS, n_head=2, n_positions=64, **COMMON),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**USUAL),
}


def build(name, seed=0):
    """A random model whose layers do something: weights drawn wide enough."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.normal_(0, 0.15)
    return model
