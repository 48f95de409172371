"""What a results file says about the machine, for the scripts of this folder: as `numgumbel bench` says it."""

from numgumbel.bench.machine import LIBRARIES, gpu, machine, processor

__all__ = ["LIBRARIES", "gpu", "machine", "processor"]
