"""The engine's kernels for the GPU, compiled by CuPy."""
