"""What a results file says about the machine, for the scripts of this folder: as `numgumbel bench` says it."""

from numgumbel.bench.gpu import gpu
from numgumbel.bench.machine import LIBRARIES, machine, processor

__all__ = ["LIBRARIES", "gpu", "machine", "processor"]
