"""numba-cuda, loaded here and nowhere else, when the first kernel for a GPU is wanted: it takes 0.3 s and 60 MB.

numba-cuda 0.30 names np.row_stack, which NumPy 2.5 has dropped, while its implementations are imported, and fails at the first
compilation where that is missing. It is lent for as long as the import takes.
"""

import importlib.util
import threading

import numpy as np
from numba import config

INSTALL = 'numba-cuda is missing: pip install "numgumbel[cuda13]"'

_lock = threading.Lock()


def _load():
    if importlib.util.find_spec("numba_cuda") is None:  # numba's own numba.cuda is no longer looked after
        raise ImportError(INSTALL)
    with _lock:
        missing = not hasattr(np, "row_stack")
        if missing:
            np.row_stack = np.vstack  # noqa: NPY201
        try:
            import numba.cuda

            if not config.ENABLE_CUDASIM:
                import numba.cuda.np.arrayobj
                import numba.cuda.target
        finally:
            if missing:
                del np.row_stack  # noqa: NPY201
    return numba.cuda


cuda = _load()
SIMULATED = bool(config.ENABLE_CUDASIM)
