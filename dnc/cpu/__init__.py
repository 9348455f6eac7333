"""The engine's kernels for the CPU, compiled by numba."""
