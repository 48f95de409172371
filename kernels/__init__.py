"""Numerics and loops of numgumbel: no policy, no array library, no Python objects.

The folder lies at the root of the repository and is imported as ``numgumbel.kernels``. Under any other name its dispatchers
would exist twice, with two sets of compiled code, so that is an error.
"""

if __name__ != "numgumbel.kernels":
    raise ImportError(f"this package is imported as 'numgumbel.kernels', not as {__name__!r}")
