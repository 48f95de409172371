"""Samples of short rows with what is known about them: lanes run across rows, one row a lane, column by column.

The sample is found as in `lanes`, by brackets from the coarse half-words. Then the columns are gone through once more for the
moments: a row's partial sums are those of `sums`, so that a row gives the same bits here and in `draw_rows`.
"""

from numpy import float64, int32, int64, uint32, uint64

from ..elementary import INF_F64, NAN_F64, fma, log_f64
from ..field import DOMAIN_COARSE, key_of_step
from ..jit import larger, loop, row_kernel, scalar, stack_array
from .bits import half_of, pair_of
from .bound import below_range, exact_score, score_bound
from .cells import (
    DETERMINISTIC,
    GIVEN,
    HAS_MASK,
    HAS_TEMPERATURES,
    IS_PROBS,
    TILE,
    WANT_ENTROPY,
    WANT_LOG_PROB,
    WANT_LOGSUMEXP,
    WANT_SCORE,
    as_real,
    log,
    note_invalid,
    step_of,
    store_rows,
    temperature_of,
    tile_of,
)
from .draw import WANT_MOMENTS, draw_types, tell_head
from .lanes import (
    ADDRESSES,
    AT_INVERSE,
    GROUP,
    INTEGERS,
    INVERSE,
    LANES,
    LOGITS,
    REALS,
    WORDS,
    compare_lanes,
    decide_lanes,
    few,
    fill_lane_words,
    load_lanes,
    next_open,
    start_lanes,
    steps_alike,
    store_chosen,
)
from .moments import LOWEST, exp_flushed, sum_of_four
from .noise import row_address
from .sums import LANES as PARTS

# Lanes of `lanes`, and room for a group of columns that starts anywhere in another.
ROOM = REALS + GROUP * LANES

# real[3, LANES], apart from them, since LLVM asks whether a loop's arrays overlap: 1 / T; the largest logit, then the largest
# z; the z of what was chosen.
RECIPROCAL, LARGEST, CHOSEN, OWN = uint64(0), uint64(LANES), uint64(2 * LANES), 3 * LANES

# float64[7, LANES]: S and T of a head; its log_prob, logsumexp and entropy; log_prob and entropy of the row.
S, T, BELOW, TOTAL, SPREAD, ROW_LOG_PROB, ROW_ENTROPY = (uint64(i * LANES) for i in range(7))
SUMS = 7 * LANES

# real[2, PARTS, LANES]: partial sums of S, and of T.
PARTIALS = 2 * PARTS * LANES
T_PARTS = uint64(PARTS * LANES)

# Places of four columns, which are done together.
COLUMN_1, COLUMN_2, COLUMN_3 = uint64(LANES), uint64(2 * LANES), uint64(3 * LANES)


@loop
def argmax_by_cells(real, address, temperature, greedy, cells, mask, flags, outer, inner, begin, end):
    """Column of the largest score of one row from begin to end, cell by cell; -1 where nothing is allowed or a cell is NaN.

    For the few rows that lanes leave open. A cell is evaluated exactly where its bound reaches the best so far.
    """
    inverse = real(1.0) if temperature == 0.0 else real(1.0 / temperature)
    best, index, pair = real(-INF_F64), -1, uint64(0)
    for j in range(begin, end):
        if not greedy and (j == begin or j & 3 == 0):
            pair = pair_of(address, DOMAIN_COARSE, j)
        if flags & HAS_MASK and mask[outer, inner, j] == 0:
            continue
        x = as_real(cells[outer, inner, j])
        x = log(x) if flags & IS_PROBS else x
        if x != x:
            return -1
        s = x
        if not greedy:
            bound = score_bound(x, inverse, half_of(pair, j))
            if bound < best and not below_range(bound):
                continue
            s = exact_score(x, inverse, address, j)
        if s > best:
            best, index = s, j
    return index


@loop
def fill_lanes(lanes_of, value, lanes):
    """The same number in all lanes. OUT real[>= lanes]."""
    for r in range(lanes):
        lanes_of[r] = value


@loop
def load_part(reals, scratch, cells, mask, flags, start, n, place, begin, width, lanes):
    """Up to eight columns from `begin` on, at a place and the ones after it, -inf around them; see `load_lanes`.

    Around: to the start of the pair of columns that share a word, to its end, and to four columns from the place on.
    """
    load_lanes(reals[place * LANES :], scratch, cells, mask, flags, start, n, begin, width, lanes)
    ended = place + width
    if place & 1:
        fill_lanes(reals[LOGITS + (place - 1) * LANES :], reals.dtype.type(-INF_F64), lanes)
    for h in range(ended, max(place + ((width + 3) & ~3), (ended + 1) & ~1)):
        fill_lanes(reals[LOGITS + h * LANES :], reals.dtype.type(-INF_F64), lanes)


@loop
def start_moments(own, reals, lanes):
    """1 / T of every lane, and no largest logit yet. OUT real[OWN], IN real[ROOM]."""
    for r in range(lanes):
        i = uint64(r)
        own[RECIPROCAL + i] = reals[AT_INVERSE + i]
        own[LARGEST + i] = own.dtype.type(-INF_F64)


@loop
def raise_largest(own, logits, lanes):
    """The largest logit of every lane with four columns more; undefined with a NaN. INOUT real[OWN], IN real[4, LANES]."""
    for r in range(lanes):
        i = uint64(r)
        pair = larger(logits[i], logits[COLUMN_1 + i])
        other = larger(logits[COLUMN_2 + i], logits[COLUMN_3 + i])
        own[LARGEST + i] = larger(own[LARGEST + i], larger(pair, other))


@loop
def temper_largest(own, codes, chosen, lanes):
    """Largest logits become largest z; chosen columns become int32. INOUT real[OWN], OUT int32[LANES], IN int64[LANES]."""
    for r in range(lanes):
        i = uint64(r)
        own[LARGEST + i] *= own[RECIPROCAL + i]
        own[CHOSEN + i] = own.dtype.type(-INF_F64)
    for r in range(lanes):
        codes[r] = int32(chosen[r])


@scalar
def term(logit, inverse, largest, lowest):
    """(z, exp(z - M), z - M or `lowest`) of one cell."""
    z = logit * inverse
    below = z - largest
    return z, exp_flushed(below), below if below > lowest else lowest


@loop
def add_terms(own, parts, codes, logits, column, fresh, lanes):
    """Four columns more in the partial sums of S and T of every lane, four of each, which begin where `fresh`.

    Parameters
    ----------
    own : INOUT real[OWN]
    parts : OUT or INOUT real[4, LANES] at its start and at T_PARTS
    codes : IN int32[LANES]
        The columns chosen.
    logits : IN real[4, LANES]
        Those of four columns, from `column` on.
    """
    lowest = own.dtype.type(LOWEST)
    for r in range(lanes):
        i = uint64(r)
        inverse, largest, z = own[RECIPROCAL + i], own[LARGEST + i], own[CHOSEN + i]
        z0, e0, d0 = term(logits[i], inverse, largest, lowest)
        z1, e1, d1 = term(logits[COLUMN_1 + i], inverse, largest, lowest)
        z2, e2, d2 = term(logits[COLUMN_2 + i], inverse, largest, lowest)
        z3, e3, d3 = term(logits[COLUMN_3 + i], inverse, largest, lowest)
        code = int32(codes[i] - column)
        z = z0 if code == int32(0) else z
        z = z1 if code == int32(1) else z
        z = z2 if code == int32(2) else z
        own[CHOSEN + i] = z3 if code == int32(3) else z
        if fresh:
            parts[i], parts[COLUMN_1 + i], parts[COLUMN_2 + i], parts[COLUMN_3 + i] = e0, e1, e2, e3
            parts[T_PARTS + i], parts[T_PARTS + COLUMN_1 + i] = e0 * d0, e1 * d1
            parts[T_PARTS + COLUMN_2 + i], parts[T_PARTS + COLUMN_3 + i] = e2 * d2, e3 * d3
        else:
            parts[i] += e0
            parts[COLUMN_1 + i] += e1
            parts[COLUMN_2 + i] += e2
            parts[COLUMN_3 + i] += e3
            parts[T_PARTS + i] = fma(e0, d0, parts[T_PARTS + i])
            parts[T_PARTS + COLUMN_1 + i] = fma(e1, d1, parts[T_PARTS + COLUMN_1 + i])
            parts[T_PARTS + COLUMN_2 + i] = fma(e2, d2, parts[T_PARTS + COLUMN_2 + i])
            parts[T_PARTS + COLUMN_3 + i] = fma(e3, d3, parts[T_PARTS + COLUMN_3 + i])


@scalar
def joined(total, parts, i):
    """A sum with four partial sums more. float64; IN real[4, LANES]."""
    return total + sum_of_four(parts[i], parts[COLUMN_1 + i], parts[COLUMN_2 + i], parts[COLUMN_3 + i])


@loop
def join_parts(sums, parts, fresh, lanes):
    """Four partial sums more in S, and four in T. OUT or INOUT float64[SUMS], IN real[4, LANES] at 0 and at T_PARTS."""
    for r in range(lanes):
        i = uint64(r)
        sums[S + i] = joined(0.0 if fresh else sums[S + i], parts, i)
        sums[T + i] = joined(0.0 if fresh else sums[T + i], parts, T_PARTS + i)


@loop
def finish_moments(own, sums, parts, fresh, lanes):
    """log_prob, logsumexp and entropy of every lane, with the last partial sums; in how many lanes they are none.

    INOUT real[OWN], float64[SUMS]; `parts`, `fresh` as in `join_parts`. None are S = NaN (a NaN, or no finite largest), T = 0,
    and a z of -inf; S becomes NaN there.
    """
    real, open_lanes = own.dtype.type, 0
    for r in range(lanes):
        i = uint64(r)
        s, m = joined(0.0 if fresh else sums[S + i], parts, i), float64(own[LARGEST + i])
        t = joined(0.0 if fresh else sums[T + i], parts, T_PARTS + i)
        log_s = log_f64(s)
        sums[BELOW + i] = (float64(own[CHOSEN + i]) - m) - log_s
        sums[TOTAL + i] = m + log_s
        sums[SPREAD + i] = log_s - t / s
        good = (s >= 1.0) & (own[RECIPROCAL + i] < real(INF_F64)) & (own[CHOSEN + i] > real(-INF_F64))
        sums[S + i] = s if good else NAN_F64
        open_lanes += 0 if good else 1
    return open_lanes


@loop
def add_heads(sums, first, lanes):
    """A head's log_prob and entropy on top of the row's, which begin with the first head."""
    for r in range(lanes):
        i = uint64(r)
        sums[ROW_LOG_PROB + i] = sums[BELOW + i] + (0.0 if first else sums[ROW_LOG_PROB + i])
        sums[ROW_ENTROPY + i] = sums[SPREAD + i] + (0.0 if first else sums[ROW_ENTROPY + i])


@loop
def round_lanes(rounded, values, lanes):
    """A float64 for every lane in the working precision. OUT real[>= lanes], IN float64[>= lanes]."""
    real = rounded.dtype.type
    for r in range(lanes):
        rounded[r] = real(values[r])


@loop
def places_in_head(chosen, begin, lanes):
    """Columns become places within the head, which begins at one; -1 stays. INOUT int64[LANES]."""
    for r in range(lanes):
        place = chosen[r] - begin
        chosen[r] = place if place >= 0 else -1


@loop
def read_given(chosen, index, outer, inner, head, begin, end, n):
    """Columns of given places within the head, -1 for one outside. OUT int64[LANES], IN int64[outer, inner, H]."""
    for r in range(n):
        at = index[outer, inner, head]
        chosen[r] = begin + at if at >= 0 and at < end - begin else -1
        inner += 1
        if inner == index.shape[1]:
            outer, inner = outer + 1, 0


@scalar
def place_of(position, count):
    """(outer, inner) of a row."""
    outer = position // count
    return outer, position - outer * count


@row_kernel(draw_types)
def draw_short_rows(
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
    first,
    last,
    heads,
    index,
    narrow,
    score,
    logsumexp,
    log_prob,
    entropy,
    invalid,
):
    """One sample of every head of rows first .. last, and what is wanted of it, for heads of up to `WIDTH` columns.

    Block by block of lanes, head by head: words, logits and bounds of a group of columns at a time, the decision, then the
    moments column by column. Rows that are decided by none of it are settled one by one.

    Parameters
    ----------
    As in `draw_rows`; columns are named by position, and end below 2^16.
    """
    count, real = cells.shape[1], score.dtype.type
    reals, integers = stack_array(ROOM, score.dtype), stack_array(INTEGERS, uint32)
    own = stack_array(OWN, score.dtype)
    addresses, chosen = stack_array(ADDRESSES, uint64), stack_array(LANES, int64)
    scratch, sums = stack_array(LANES, int64), stack_array(SUMS, float64)
    parts, codes = stack_array(PARTIALS, score.dtype), stack_array(LANES, int32)
    buffer, tops, rounded = stack_array(TILE, score.dtype), stack_array(LANES, score.dtype), stack_array(LANES, score.dtype)
    buffers = buffer, stack_array(TILE, score.dtype)
    partials = stack_array(PARTS, score.dtype), stack_array(PARTS, score.dtype)
    ill = stack_array(LANES, int64)
    greedy = (temperature == 0.0 and flags & HAS_TEMPERATURES == 0) or flags & DETERMINISTIC != 0
    drawn = flags & GIVEN == 0
    moments = flags & WANT_MOMENTS != 0
    bad, start = 0, first
    while start < last:
        n = steps_alike(step, steps, flags, start, min(LANES, last - start), count)
        first_outer = start // count
        first_inner = start - first_outer * count
        lanes = (n + 15) & ~15  # whole vectors
        any_ill = False
        for r in range(n):
            ill[r] = 0
        for head in range(heads.shape[0] - 1):
            begin, end = heads[head], heads[head + 1]
            by_lanes = drawn and not greedy and n >= few(end - begin)
            start_lanes(reals, addresses, step, steps, rows, flags, temperature, temperatures, start, n, lanes, count)
            start_moments(own, reals, lanes)
            a, b = key_of_step(k0, k1, step_of(step, steps, flags, first_outer, first_inner))
            for group in range(begin >> 3, (end + 7) >> 3):
                low, high = max(begin, group * GROUP), min(end, (group + 1) * GROUP)
                place, width = low & 7, high - low
                load_part(reals, scratch, cells, mask, flags, start, n, place, low, width, lanes)
                if by_lanes:
                    fill_lane_words(integers, addresses, group, a, b, lanes)
                    for h in range(place & ~1, place + width, 2):
                        left, right = reals[LOGITS + h * LANES :], reals[LOGITS + (h + 1) * LANES :]
                        words = integers[WORDS + (h >> 1) * LANES :]
                        compare_lanes(reals, integers, left, right, words, uint32(group * GROUP + h), lanes)
                if moments:
                    for h in range(0, width, 4):
                        raise_largest(own, reals[LOGITS + (place + h) * LANES :], lanes)
            undecided = n
            if by_lanes:
                undecided = decide_lanes(reals, integers, chosen, lanes)
            if not drawn:
                read_given(chosen, index, first_outer, first_inner, head, begin, end, n)
            elif undecided > 0:
                r = next_open(chosen, 0, n) if by_lanes else 0
                while r < n:
                    outer, inner = place_of(start + r, count)
                    address = row_address(k0, k1, step, steps, rows, flags, outer, inner, start + r)
                    t = temperature_of(temperature, temperatures, flags, outer, inner)
                    chosen[r] = argmax_by_cells(
                        real, address, t, greedy or t == 0.0, cells, mask, flags, outer, inner, begin, end
                    )
                    r = next_open(chosen, r + 1, n) if by_lanes else r + 1
            open_lanes = 0
            if not moments:
                for r in range(n):
                    good = chosen[r] >= 0 and reals[INVERSE + r] < real(INF_F64)
                    sums[S + uint64(r)] = 1.0 if good else NAN_F64
                    open_lanes += 0 if good else 1
            else:
                temper_largest(own, codes, chosen, lanes)
                place = begin & 7
                for base in range(0, end - begin, GROUP):
                    width = min(GROUP, end - begin - base)
                    if place + end - begin > GROUP:  # a single group is there already
                        place = 0
                        load_part(reals, scratch, cells, mask, flags, start, n, place, begin + base, width, lanes)
                    for h in range(0, width, 4):
                        part, logits = parts[((base + h) & (PARTS - 1)) * LANES :], reals[LOGITS + (place + h) * LANES :]
                        add_terms(own, part, codes, logits, int32(begin + base + h), base + h < PARTS, lanes)
                last_parts = (min(end - begin, PARTS) - 1) & ~3
                for p in range(0, last_parts, 4):
                    join_parts(sums, parts[p * LANES :], p == 0, lanes)
                open_lanes = finish_moments(own, sums, parts[last_parts * LANES :], last_parts == 0, lanes)
            if flags & WANT_SCORE:
                for r in range(n):
                    if chosen[r] >= 0:
                        outer, inner = place_of(start + r, count)
                        address = row_address(k0, k1, step, steps, rows, flags, outer, inner, start + r)
                        x = tile_of(buffer, cells, mask, flags, outer, inner, chosen[r], 1)[0]
                        tops[r] = exact_score(x, reals[INVERSE + r], address, chosen[r])
            if open_lanes > 0:
                for r in range(n):
                    i = uint64(r)
                    if sums[S + i] != sums[S + i]:
                        outer, inner = place_of(start + r, count)
                        t = temperature_of(temperature, temperatures, flags, outer, inner)
                        chosen[r], top, sums[BELOW + i], sums[TOTAL + i], sums[SPREAD + i] = tell_head(
                            chosen[r], float64(tops[r]), t, buffers, partials, cells, mask, flags, outer, inner, begin, end
                        )
                        tops[r] = real(top)
                        ill[r] |= chosen[r]  # negative once one is
                        any_ill |= chosen[r] < 0
            add_heads(sums, head == 0, lanes)
            if drawn:
                places_in_head(chosen, begin, lanes)
                store_chosen(index[:, :, head], narrow[:, :, head], chosen, flags, start, n)
            if flags & WANT_SCORE:
                store_rows(score[:, :, head], tops, start, n)
            if flags & WANT_LOGSUMEXP:
                round_lanes(rounded, sums[TOTAL:], lanes)
                store_rows(logsumexp[:, :, head], rounded, start, n)
        if flags & WANT_LOG_PROB:
            round_lanes(rounded, sums[ROW_LOG_PROB:], lanes)
            store_rows(log_prob, rounded, start, n)
        if flags & WANT_ENTROPY:
            round_lanes(rounded, sums[ROW_ENTROPY:], lanes)
            store_rows(entropy, rounded, start, n)
        if any_ill:
            for r in range(n):
                if ill[r] < 0:
                    bad += note_invalid(invalid, start + r)
        start += n
    return bad
