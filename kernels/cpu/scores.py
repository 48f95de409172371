"""Scores of a tile: logits / T + G, the quantity whose maximum is the sample."""

from ..field import score_f32, score_f64
from ..jit import by_precision, loop
from .noise import fill_noise

score = by_precision(score_f32, score_f64)


@loop
def fill_scores(s, x, scratch, address, temperature, cols, flags, outer, inner, start):
    """Scores of a tile of logits; at temperature 0 a score is the logit itself.

    Parameters
    ----------
    s : OUT real[n], contiguous
        Scores, -inf where excluded.
    x : IN real[n], contiguous
        The tile's logits.
    scratch, address, cols, flags, outer, inner, start
        As in `fill_noise`.
    temperature : float64
        Of this row.
    """
    real = x.dtype.type
    if temperature == 0.0:
        for j in range(x.shape[0]):
            s[j] = x[j] + real(0.0)
    else:
        fill_noise(s, scratch, address, cols, flags, outer, inner, start)
        inverse = real(1.0 / temperature)
        for j in range(x.shape[0]):
            s[j] = score(x[j], inverse, s[j])
