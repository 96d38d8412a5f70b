"""Networks before training: ensembles of weights, propagation of signals, tensors of the kernel."""
