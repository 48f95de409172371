"""Draws of the column shards of a row joined: the largest score has the sample, the lowest column id on a tie."""

from numpy import float64, int64

from ..elementary import INF_F64, NAN_F64, exp_nonpositive_f64, fma, log_f64
from ..jit import scalar
from .jit import row_kernel
from .loading import cuda


@scalar
def add_share(mass, mean, here, largest, entropy):
    """(mass, mean) with one more shard: its share w of the largest, and w times how far its weights lie below that."""
    w = exp_nonpositive_f64(here - largest)
    return mass + w, fma(w, (here - largest) - entropy, mean)


@row_kernel
def merge_rows(cols, scores, log_probs, totals, entropies, greedy, col, score, log_prob, total, entropy):
    """One draw of each row from those of its shards: a thread a row. See the CPU's for what is joined, and how.

    Parameters
    ----------
    cols : IN int64[shards, rows]
        Column ids of the shards' samples; -1 where there is none.
    scores, log_probs, totals, entropies : IN real[shards, rows]
        Their scores, log-probabilities, logsumexp and entropies. A score is -inf where a shard allows nothing, and its
        logsumexp too; NaN where a NaN was met, which makes the row NaN.
    greedy : IN float64[rows]
        Temperatures: where one is 0, the largest logit is all there is.
    col, score, log_prob, total, entropy : OUT int64[rows], real[rows] four times
        The same of the row.
    """
    shards, real = cols.shape[0], score.dtype.type
    r = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    if r < cols.shape[1]:
        best, unordered, largest = int64(-1), False, float64(-INF_F64)
        for p in range(shards):
            s, here = scores[p, r], float64(totals[p, r])
            unordered |= s != s
            largest = here if here > largest else largest
            if cols[p, r] >= 0 and (best < 0 or s > scores[best, r] or (s == scores[best, r] and cols[p, r] < cols[best, r])):
                best = int64(p)
        if best < 0 or unordered:
            nothing = real(NAN_F64) if unordered else real(-INF_F64)
            col[r], score[r], log_prob[r], total[r], entropy[r] = -1, nothing, real(NAN_F64), nothing, real(NAN_F64)
        else:
            col[r], score[r] = cols[best, r], scores[best, r]
            if greedy[r] == 0.0 or largest == INF_F64:  # one category is all there is
                log_prob[r], total[r], entropy[r] = real(0.0), real(largest), real(0.0)
            else:
                mass, mean = float64(0.0), float64(0.0)
                for p in range(shards):
                    here = float64(totals[p, r])
                    if here > -INF_F64:
                        mass, mean = add_share(mass, mean, here, largest, float64(entropies[p, r]))
                log_mass = log_f64(mass)
                below = (float64(totals[best, r]) - largest) - log_mass
                log_prob[r] = real(float64(log_probs[best, r]) + below)
                total[r] = real(largest + log_mass)
                entropy[r] = real(log_mass - mean / mass)
