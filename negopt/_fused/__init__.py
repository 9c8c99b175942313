"""The fused engine on the host: a run's state in and out of the compiled kernels."""
