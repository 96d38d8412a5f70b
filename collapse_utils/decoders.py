"""What a decoder of `transformers` needs before it is cut or quantised: the same numbers on every processor, a true configuration."""

import logging


def unpacked(model):
    """Return the model, its 4-bit layers told to leave their weights as they are stored, on every processor.

    Where a CPU has AVX512_BF16, bitsandbytes 0.50.2 repacks them at the first evaluation: other numbers (bfloat16 products),
    an error where a width is no multiple of 64, noise once they are merged, no gradient to what lies before the layer.
    """
    noisy = logging.getLogger("bitsandbytes.backends.cpu.ops")  # warns of a kernel that only packed weights would use
    noisy.setLevel(logging.ERROR)
    from bitsandbytes.nn import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False
    return model
