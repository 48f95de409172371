"""The field given an observed choice: noise under which the largest score of a row is at a given index.

What the noise is made of stands in the CPU's kernel. It is equal to the bit there and here, and so is the sum of the weights: a
warp has a block of 1024 columns, of which a lane adds up every 32nd, and what the lanes have come to is joined in order.
"""

from numba import types
from numpy import float64, int64, uint32, uint64

from ..cpu import conditional
from ..cpu.bound import exponential_of_cell
from ..cpu.cells import largest_number
from ..cpu.scores import score
from ..cpu.softmax import exp_nonpositive
from ..cpu.sums import BLOCK, LANES
from ..elementary import INF_F64, NAN_F64, fma, log_f64
from ..field import FOLD_SAMPLE
from ..jit import scalar
from ..philox import fold
from .cells import column_id, in_range, load_logits, logit_at, note_invalid, row_address, temperature_of
from .inverse_cdf import largest_of_lanes, largest_of_warps, stretch_of_warp
from .jit import ALL, THREADS, WARP, WARPS, device, hidden, real_of, row_kernel
from .loading import cuda
from .memory import GROUP
from .noise import fill_exponentials, gumbel_of_exponential
from .philox import round_keys

AHEAD = 8  # logits that a lane has on their way while it adds up weights
SIDES = 2 * WARPS  # sums of the warps' blocks, those of two rounds in turn

noise_below = scalar(conditional.noise_below.py_func)


@scalar
def add_weight(total, logit, largest, inverse, one):
    """total + exp((logit - largest) / T), never a multiply-add: a weight is a product. `one` is a 1 that is hidden."""
    return fma(exp_nonpositive((logit - largest) * inverse), one, total)


@scalar
def gumbel_of_chosen(e, logit, largest, total, inverse, one):
    """-log(E) - log(p) as float64, where p is exp((logit - largest) / T) / total. All real but the total; `one` as above."""
    further = (float64(largest) - float64(logit)) * float64(inverse)
    return float64(gumbel_of_exponential(e)) + fma(further, float64(one), log_f64(total))


@scalar
def given_exponential(e, logit, largest, share, inverse):
    """E_j + E_i p_j, where `share` is E_i / total."""
    return fma(share, exp_nonpositive((logit - largest) * inverse), e)


@device
def noise_of_chosen(x, logit, e, largest, total, inverse, one):
    """(noise, score) of the given index, as the CPU's function of this name makes them. `x` tells the precision."""
    real, limit = real_of(x), largest_number(inverse)
    g = gumbel_of_chosen(e, logit, largest, total, inverse, one)
    noise = real(g) if g < float64(limit) else limit
    if score(logit, inverse, noise) <= -limit:
        noise = limit
    if score(logit, inverse, noise) <= -limit:
        noise = real(INF_F64)
    return noise, score(logit, inverse, noise)


@device
def sum_of_block(x, cells, mask, flags, outer, inner, begin, end, largest, inverse, one, lane, lanes):
    """Sum of the weights of up to `BLOCK` columns, float64, in the order of the CPU's `add_sum`; the same in all lanes.

    Parameters
    ----------
    x : scratch real[8], the thread's own
    cells, mask, flags, outer, inner
        As in `load_logits`.
    begin, end : int64
        The columns. All lanes of a warp call this with equally many.
    largest, inverse : real
        The row's largest logit; 1 / T.
    one : real
        As in `add_weight`.
    lane, lanes : int64
        Which of the lanes that share the row. Each has the partial sums lane, lane + lanes, ... of the 32.
    """
    real = real_of(cells)
    first = cuda.laneid & ~(lanes - 1)
    total = float64(0.0)
    for turn in range((min(end - begin, LANES) + lanes - 1) // lanes):
        partial = real(0.0)
        j = begin + turn * lanes + lane
        while j + (AHEAD - 1) * LANES < end:
            for h in range(AHEAD):
                x[h] = logit_at(cells, mask, flags, outer, inner, j + h * LANES)
            for h in range(AHEAD):
                partial = add_weight(partial, x[h], largest, inverse, one)
            j += AHEAD * LANES
        while j < end:
            partial = add_weight(partial, logit_at(cells, mask, flags, outer, inner, j), largest, inverse, one)
            j += LANES
        for other in range(lanes):
            total += float64(cuda.shfl_sync(ALL, partial, first + other))
    return total


@device
def sum_of_row(x, sums, cells, mask, flags, outer, inner, largest, inverse, one, warp, lane, threads, lanes):
    """Sum of the weights of a row, float64, the same in all its threads. Arguments as in `sum_of_block` and `conditional_rows`.

    Each warp has a block of columns at a time; block after block is added. Scratch float64[SIDES], shared: with two rounds in
    turn, one barrier a round is enough.
    """
    columns = cells.shape[2]
    warps = threads // WARP if threads > WARP else int64(1)
    total = float64(0.0)
    for turn in range((columns + BLOCK * warps - 1) // (BLOCK * warps)):
        begin = min((turn * warps + warp) * BLOCK, columns)
        end = min(begin + BLOCK, columns)
        here = sum_of_block(x, cells, mask, flags, outer, inner, begin, end, largest, inverse, one, lane, lanes)
        if threads == THREADS:
            side = (turn & 1) * WARPS
            if lane == 0:
                sums[side + warp] = here
            cuda.syncthreads()
            for other in range(WARPS):
                total += sums[side + other]
        else:
            total += here
    return total


@row_kernel
def conditional_rows(
    k0,
    k1,
    step,
    steps,
    rows,
    cols,
    cells,
    mask,
    flags,
    temperature,
    temperatures,
    chosen,
    samples,
    sample,
    first,
    last,
    want_scores,
    threads,
    out,
    invalid,
):
    """Noise, or scores, of rows first .. last given where their largest score is: `threads` threads a row.

    Launched with so many threads for each row, in whole warps; in blocks of `THREADS` where those share a row.

    Parameters
    ----------
    k0, k1, step, steps, rows, cols, cells, mask, flags, first, last, invalid
        As in `argmax_rows`. E is read at these addresses under the key folded with the sample number.
    temperature : float64
        Within [2^-64, 2^64].
    temperatures : IN float64[outer, inner]
        That of each row, under `HAS_TEMPERATURES`.
    chosen : IN int64[outer, inner]
        The given index. A row is invalid where it names no category, or one that is excluded or behind the first +inf.
    samples : IN int64[outer, inner]
    sample : int64
        Sample number, and what is added to all of them.
    want_scores : int64
        1 for scores in place of noise.
    threads : int64
        1, 2, 4, 8, 16, 32 or `THREADS`.
    out : OUT real[outer, inner, K]
        NaN all over in an invalid row. May be `cells`.
    """
    real = real_of(cells)
    x, g = cuda.local.array(GROUP, real), cuda.local.array(GROUP, real)
    found = cuda.shared.array(WARPS, real)
    places = cuda.shared.array(WARPS, types.int64)
    sums = cuda.shared.array(SIDES, types.float64)
    number = int64(cuda.blockIdx.x) * cuda.blockDim.x + cuda.threadIdx.x
    place = first + number // threads
    position = min(place, last - 1)  # lanes without a row go along with the last one
    count, columns = cells.shape[1], cells.shape[2]
    outer = position // count
    inner = position - outer * count
    thread, lanes = number & (threads - 1), min(threads, WARP)
    warp, lane = thread // WARP, thread & (lanes - 1)
    begin, end = int64(0), int64(columns)
    if threads == THREADS:
        begin, end = stretch_of_warp(columns, warp, WARPS)
    largest, top = largest_of_lanes(x, cells, mask, flags, outer, inner, begin, end, lane, lanes)
    if threads == THREADS:
        largest, top = largest_of_warps(largest, top, found, places, warp)
    at = chosen[outer, inner]
    t = temperature_of(temperature, temperatures, flags, outer, inner)
    certain = largest == real(INF_F64)
    possible = top >= 0 and at >= 0 and at < columns and (at == top or not certain) and in_range(t) and t != 0.0
    at = at if possible else int64(0)
    logit = logit_at(cells, mask, flags, outer, inner, at)
    possible = possible and logit > real(-INF_F64)
    inverse = real(1.0 / t) if possible else real(1.0)
    one = real(hidden(uint32(1)))
    total = sum_of_row(x, sums, cells, mask, flags, outer, inner, largest, inverse, one, warp, lane, threads, lanes)
    cuda.syncwarp(ALL)  # what is written below may be what other lanes have read until here
    a, b = fold(k0, k1, uint64(samples[outer, inner] + sample), FOLD_SAMPLE)
    address = row_address(a, b, step, steps, rows, flags, outer, inner, position)
    noise, limit, share = real(0.0), real(INF_F64), real(0.0)
    if possible and not certain:
        e = exponential_of_cell(inverse, address, int64(column_id(cols, flags, outer, inner, at)))
        noise, limit = noise_of_chosen(x, logit, e, largest, total, inverse, one)
        share = real(float64(e) / total)
    if not possible and place < last:
        if thread == 0:
            note_invalid(invalid, position)
        for j in range(thread, columns, threads):
            out[outer, inner, j] = real(NAN_F64)
    keys = round_keys(address[0], address[1])
    start = GROUP * thread if possible and place < last else int64(columns)
    while start < columns:
        load_logits(x, cells, mask, flags, outer, inner, start, columns)
        fill_exponentials(g, keys, address, cols, flags, outer, inner, start, columns)
        for h in range(GROUP):
            # Nothing is learnt from what had to happen.
            value = gumbel_of_exponential(g[h] if certain else given_exponential(g[h], x[h], largest, share, inverse))
            if not certain:
                if score(x[h], inverse, value) >= limit:
                    value = noise_below(x[h], inverse, limit)
                value = noise if start + h == at else value
            if want_scores:
                value = score(x[h], inverse, value)
            if start + h < columns:
                out[outer, inner, start + h] = value
        start += GROUP * threads
