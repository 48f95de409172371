"""Log-probabilities with which the categories of a top-k sample were to be included: a thread for each."""

from numpy import float64, int64

from ..cpu.cells import largest_number
from ..cpu.inclusion import log_inclusion
from ..elementary import INF_F64, NAN_F64, fma
from ..jit import scalar
from .cells import in_range, temperature_of
from .jit import as_real, device, real_of, row_kernel
from .loading import cuda


@scalar
def above_threshold(logit, inverse, kappa, largest):
    """logit / T - threshold, the former clamped as scores are; float64."""
    phi = logit * inverse
    d = fma(logit, inverse, -kappa)
    d = largest - kappa if phi > largest else d
    return -largest - kappa if phi < -largest else d


@row_kernel
def inclusion_rows(cells, flags, temperature, temperatures, index, threshold, first, last, out):
    """Log-probabilities of inclusion over rows first .. last, in float64, rounded at the end.

    Launched with a thread for each place of each row.

    Parameters
    ----------
    cells : IN cell[outer, inner, K]
        Logits.
    flags : int64
        `HAS_TEMPERATURES` or nothing.
    temperature, temperatures
        As in `argmax_rows`.
    index : IN int64[outer, inner, k]
        Positions of the chosen, -1 where there is none.
    threshold : IN real[outer, inner]
        The k+1-th score, NaN in an invalid row.
    first, last : int64
        Rows to do, as positions in C order of (outer, inner).
    out : OUT real[outer, inner, k]
        0 where inclusion was certain, -inf where nothing was chosen, NaN in an invalid row.
    """
    real, count, places = real_of(cells), cells.shape[1], index.shape[2]
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    position = first + number // places
    if position < last:
        place = number - (position - first) * places
        outer = position // count
        inner = position - outer * count
        t = temperature_of(temperature, temperatures, flags, outer, inner)
        kappa, at = float64(threshold[outer, inner]), index[outer, inner, place]
        out[outer, inner, place] = real(told(cells, t, kappa, outer, inner, at)) + real(0.0)  # no -0.0


@device
def told(cells, temperature, kappa, outer, inner, at):
    """One log-probability, float64; NaN for a position that is none."""
    real = real_of(cells)
    value = float64(NAN_F64)
    if kappa == kappa and in_range(temperature) and at < cells.shape[2]:
        if at < 0:
            value = float64(-INF_F64)
        else:
            logit = float64(as_real(cells[outer, inner, at]))
            if temperature == 0.0 or logit == INF_F64 or kappa == -INF_F64:
                value = float64(0.0)
            else:
                inverse = float64(real(1.0 / temperature))
                value = log_inclusion(above_threshold(logit, inverse, kappa, float64(largest_number(real(0.0)))))
    return value
