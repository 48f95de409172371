"""Draws of the column shards of a row joined: the largest score has the sample, the lowest column id on a tie.

The score is the sample's at its own address, so that the best of the shards' best is the best of the row, in any order.
"""

from numba import types
from numpy import float64

from ..elementary import INF_F64, NAN_F64, exp_nonpositive_f64, log_f64
from ..jit import row_kernel, sink, view


@row_kernel(
    lambda real: types.void(
        view(types.int64, 2),
        *[view(real, 2)] * 4,
        view(types.uint8, 1),
        sink(types.int64, 1),
        *[sink(real, 1)] * 4,
    )
)
def merge_rows(cols, scores, log_probs, totals, entropies, greedy, col, score, log_prob, total, entropy):
    """One draw of each row from those of its shards.

    With the shares w = exp(logsumexp of a shard - logsumexp), a log-probability moves by log w of its shard, and the entropy is
    logsumexp - sum w (logsumexp - entropy) of the shards.

    Parameters
    ----------
    cols : IN int64[shards, rows]
        Column ids of the shards' samples; -1 where there is none.
    scores, log_probs, totals, entropies : IN real[shards, rows]
        Their scores, log-probabilities, logsumexp and entropies. A score is -inf where a shard allows nothing, and its
        logsumexp too; NaN where a NaN was met, which makes the row NaN.
    greedy : IN uint8[rows]
        Nonzero where the temperature was 0: the largest logit is all there is.
    col, score, log_prob, total, entropy : OUT int64[rows], real[rows] four times
        The same of the row.
    """
    shards, real = cols.shape[0], score.dtype.type
    for r in range(cols.shape[1]):
        best, unordered, largest = -1, False, -INF_F64
        for p in range(shards):
            s = scores[p, r]
            unordered |= s != s
            largest = max(largest, float64(totals[p, r]))
            if cols[p, r] < 0:
                continue
            if best < 0 or s > scores[best, r] or (s == scores[best, r] and cols[p, r] < cols[best, r]):
                best = p
        if best < 0 or unordered:
            nothing = real(NAN_F64) if unordered else real(-INF_F64)
            col[r], score[r], log_prob[r], total[r], entropy[r] = -1, nothing, real(NAN_F64), nothing, real(NAN_F64)
            continue
        col[r], score[r] = cols[best, r], scores[best, r]
        if greedy[r] != 0 or largest == INF_F64:  # one category is all there is
            log_prob[r], total[r], entropy[r] = real(0.0), real(largest), real(0.0)
            continue
        mass, mean = 0.0, 0.0
        for p in range(shards):
            here = float64(totals[p, r])
            if here > -INF_F64:
                w = exp_nonpositive_f64(here - largest)
                mass += w
                mean += w * ((here - largest) - float64(entropies[p, r]))
        log_mass = log_f64(mass)
        below = (float64(totals[best, r]) - largest) - log_mass
        log_prob[r] = real(float64(log_probs[best, r]) + below)
        total[r] = real(largest + log_mass)
        entropy[r] = real(log_mass - mean / mass)
