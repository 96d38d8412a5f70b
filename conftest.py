"""For tests and benchmarks alike: torch on one thread, as in the processes of the chapters."""

import pytest


@pytest.fixture
def one_thread():
    """One thread of torch, and the number there was before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
