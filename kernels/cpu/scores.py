"""Scores of a tile: logits / T + G, the quantity whose maximum is the sample."""

from ..field import score_f32, score_f64
from ..jit import by_precision, loop
from .cells import load_tile
from .noise import fill_noise

score = by_precision(score_f32, score_f64)


@loop
def fill_scores(s, x, bits, address, temperature, cols, cells, mask, flags, outer, inner, start):
    """Read a tile of logits and turn it into scores; at temperature 0 a score is the logit itself.

    Parameters
    ----------
    s : OUT real[n], contiguous
        Scores, -inf where excluded. The buffer behind it has `TILE` places.
    x : OUT real[n], contiguous
        The tile's logits.
    bits : scratch uint32[2 * TILE]
    address, cols, cells, mask, flags, outer, inner, start
        As in `fill_noise` and `load_tile`.
    temperature : float64
        Of this row.

    Returns
    -------
    bool
        True where an allowed cell is NaN.
    """
    unordered = load_tile(x, cells, mask, flags, outer, inner, start)
    real = x.dtype.type
    if temperature == 0.0:
        for j in range(x.shape[0]):
            s[j] = x[j] + real(0.0)
    else:
        fill_noise(s, bits, address, cols, flags, outer, inner, start)
        inverse = real(1.0 / temperature)
        for j in range(x.shape[0]):
            s[j] = score(x[j], inverse, s[j])
    return unordered
