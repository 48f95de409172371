"""What log-probabilities and entropies are made of, for z = logits / T of a row or of a part of it:

    M = max z      S = sum exp(z - M)      T = sum exp(z - M) (z - M)
    logsumexp = M + log S      log_prob = (z - M) - log S      entropy = log S - T / S

Parts are joined by scaling both sums to the larger M (Milakov, Gimelshein, "Online normalizer calculation for softmax", 2018,
arXiv:1805.02867). M is in the working precision; the sums of parts, and all that is made of them, are float64, rounded once at
the end. S is 1 or more and T is 0 or less, so that an entropy is never negative.
"""

from numpy import float32, float64

from .elementary import exp_nonpositive_f64, fma
from .field import score_f32, score_f64
from .jit import scalar


@scalar
def tempered_f32(logit, inverse):
    """z = logit / T in float32: one product, kept finite for a finite logit; the logit itself at T = 1."""
    return score_f32(logit, inverse, float32(-0.0))


@scalar
def tempered_f64(logit, inverse):
    """z = logit / T in float64; see `tempered_f32`."""
    return score_f64(logit, inverse, float64(-0.0))


@scalar
def joined_moments(m, s, t, part_m, part_s, part_t):
    """(M, S, T) of two parts as float64. S is 0 for a part without an allowed category."""
    if s == 0.0:
        return part_m, part_s, part_t
    if part_s == 0.0:
        return m, s, t
    if part_m > m:
        shift = m - part_m
        scale = exp_nonpositive_f64(shift)
        return part_m, fma(scale, s, part_s), fma(scale, fma(shift, s, t), part_t)
    shift = part_m - m
    scale = exp_nonpositive_f64(shift)
    return m, fma(scale, part_s, s), fma(scale, fma(shift, part_s, part_t), t)
