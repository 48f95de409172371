"""Kernels for NVIDIA GPUs: twins of those in `cpu`, by the same names and with the same order of arguments.

They are compiled by numba-cuda (see `loading`) from the scalars that the CPU uses, so that noise, scores and indices are the
same bits. What a kernel does itself is control and addressing: numbers are made by scalars.
"""
