"""Trained decoders with layers taken out, healed, and examined."""

import logging

# bitsandbytes 0.50.2 warns, when it is imported on a CPU with AVX512_BF16, of a kernel that only packed weights would use
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
