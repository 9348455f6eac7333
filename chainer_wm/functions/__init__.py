"""Mathematics without parameters, with fused engines for the CPU (numba) and the GPU (CuPy)."""
