"""How other libraries do the workloads, as fast as can be written in each, and bars that only pass over the data.

Gumbel-max is written in two ways: a *race* takes the logarithm of exponential variables, a *uniform race* that of a logarithm
of uniform ones (cheaper in most libraries; its noise stops near 17). *Inverse CDF* compares one uniform a row with cumulative
weights: the cheapest way to an index, without noise that could be asked for again. Its running sums are in the logits'
precision up to a million columns; beyond, where float32 would no longer see a weight, in float64.

A peer is *ready-made* where a library has a function for the job, or where logits plus Gumbel noise are written in a few plain
lines: one line of NumPy, or a race, which is what torch's own function does. It is *hand-tuned* where more thought has gone
into speed: uniform races, inverse CDFs, threads.

Where log-probability, entropy or logsumexp are asked for too, exponentials of all logits are made anyway, and the hand-tuned
way goes on from there by an inverse CDF.

Buffers are made beforehand wherever a library has ``out=``; forbidden cells are found beforehand too, and float16 and bfloat16
are read as copies in float32, made beforehand. Libraries are imported when their contenders are prepared. All may use the
threads that numgumbel may use.
"""

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from contender import BAR, HAND_TUNED, READY_MADE, Contender, as_float32

import numgumbel as ng

WIDE = 1 << 20  # columns from which float32 sums are of no use
WORTH_THREADS = 50_000  # elements from which handing over to a pool pays in NumPy

NOISY = "categorical", "gumbel_softmax", "gumbel_topk"  # operations that need no more than logits plus noise
FORBIDDEN = -1e30  # in place of -inf, which times a probability of 0 is NaN

PEERS = []


def peer(name, operation, kind, library="numpy", fits=lambda workload: True, draws=False):
    """Register a function (workload, logits, forbidden cells or None) -> call; kinds are those of a `Contender`.

    `operation` is one, or several, or "any".

    With `draws` it does the workloads that draw every row many times, and only these; a bar passes over any array.
    """
    operations = (operation,) if isinstance(operation, str) else operation

    def register(function):
        def prepare(workload, inputs):
            logits, mask, *_ = as_float32(inputs)
            return function(workload, logits, None if mask is None else ~mask)

        def suits(workload):
            suited = kind == BAR or draws == (workload.n is not None)
            return suited and (operation == "any" or workload.operation in operations) and fits(workload)

        PEERS.append(Contender(name, kind, prepare, suits, library))
        return function

    return register


# Bars


@peer("np.max", "any", BAR)
def _np_max(workload, x, forbidden):
    return x.max


@peer("torch.softmax", "gumbel_softmax", BAR, "torch")
def _torch_softmax(workload, x, forbidden):
    torch = _torch()
    x = torch.from_numpy(x)
    if not workload.reuse_out:
        return lambda: torch.softmax(x, -1)
    out = torch.empty_like(x)
    return lambda: torch.softmax(x, -1, out=out)


# NumPy


def _numpy_rng():
    np.seterr(divide="ignore")  # the logarithm of a uniform variable that is 0
    return np.random.Generator(np.random.SFC64())  # the fastest of NumPy's bit generators


def _race_scores(x, buffer, forbidden):
    """Call that fills the buffer with x + G, by exponential variables."""
    rng = _numpy_rng()
    # In float32 some are 0: such a cell would win against any logit, and make NaN of a softmax.
    least = x.dtype.type(2.0**-25)

    def scores():
        rng.standard_exponential(out=buffer, dtype=x.dtype)
        if x.dtype == np.float32:
            np.maximum(buffer, least, out=buffer)
        np.log(buffer, out=buffer)
        np.subtract(x, buffer, out=buffer)
        if forbidden is not None:
            np.copyto(buffer, -np.inf, where=forbidden)
        return buffer

    return scores


def _uniform_scores(x, buffer, forbidden):
    """Call that fills the buffer with x + G, by uniform variables."""
    rng = _numpy_rng()

    def scores():
        rng.random(out=buffer, dtype=x.dtype)
        np.log(buffer, out=buffer)
        np.negative(buffer, out=buffer)
        np.log(buffer, out=buffer)
        np.subtract(x, buffer, out=buffer)
        if forbidden is not None:
            np.copyto(buffer, -np.inf, where=forbidden)
        return buffer

    return scores


def _numpy_result(workload, scores):
    """What the operation makes of scores, which it may overwrite."""
    if workload.operation == "categorical":
        return scores.argmax(-1)
    if workload.operation == "gumbel_topk":
        index = np.argpartition(scores, -workload.k, axis=-1)[:, -workload.k :]
        best = np.take_along_axis(scores, index, -1)
        order = np.argsort(-best, axis=-1)
        return np.take_along_axis(index, order, -1), np.take_along_axis(best, order, -1)
    np.subtract(scores, scores.max(-1, keepdims=True), out=scores)
    np.exp(scores, out=scores)
    return np.divide(scores, scores.sum(-1, keepdims=True), out=scores)


@peer("NumPy, one line", "categorical", READY_MADE)
def _numpy_one_line(workload, x, forbidden):
    rng = np.random.default_rng()
    if forbidden is not None:
        return lambda: np.where(forbidden, -np.inf, x + rng.gumbel(size=x.shape)).argmax(-1)
    return lambda: (x + rng.gumbel(size=x.shape)).argmax(-1)


@peer("NumPy, race", NOISY, READY_MADE)
def _numpy_race(workload, x, forbidden):
    scores = _race_scores(x, np.empty_like(x), forbidden)
    return lambda: _numpy_result(workload, scores())


@peer("NumPy, uniform race", NOISY, HAND_TUNED)
def _numpy_uniform_race(workload, x, forbidden):
    scores = _uniform_scores(x, np.empty_like(x), forbidden)
    return lambda: _numpy_result(workload, scores())


@peer("NumPy, uniform race, threads", NOISY, HAND_TUNED, fits=lambda workload: workload.cost().elements >= WORTH_THREADS)
def _numpy_threads(workload, x, forbidden):
    """Rows, or the columns of a single row, shared among threads: NumPy's loops release the GIL."""
    threads = ng.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=_numpy_rng)
    split = len(x) == 1 and workload.operation == "categorical" and x.size % threads == 0 and forbidden is None
    pieces = x.reshape(threads, -1) if split else x
    buffer = np.empty_like(pieces)
    edges = np.linspace(0, len(pieces), threads + 1).astype(int)
    blocks = [slice(first, last) for first, last in itertools.pairwise(edges)]
    shares = [_uniform_scores(pieces[rows], buffer[rows], None if forbidden is None else forbidden[rows]) for rows in blocks]

    def call():
        done = list(pool.map(lambda scores: _numpy_result(workload, scores()), shares))
        if workload.operation == "gumbel_softmax":
            return buffer
        if workload.operation == "gumbel_topk":
            return tuple(np.concatenate(part) for part in zip(*done, strict=True))
        best = np.concatenate(done)
        if not split:
            return best
        winner = buffer[np.arange(threads), best].argmax()
        return winner * pieces.shape[1] + best[winner]

    return call


@peer("NumPy, inverse CDF", "categorical", HAND_TUNED)
def _numpy_inverse_cdf(workload, x, forbidden):
    rng = _numpy_rng()
    buffer, above = np.empty_like(x), np.empty(x.shape, bool)
    sums = np.empty_like(x, dtype=np.float64) if x.shape[1] > WIDE else buffer

    def call():
        np.subtract(x, x.max(-1, keepdims=True), out=buffer)
        np.exp(buffer, out=buffer)
        if forbidden is not None:
            np.copyto(buffer, 0, where=forbidden)
        np.cumsum(buffer, axis=-1, out=sums)
        np.greater(sums, rng.random((len(x), 1), dtype=sums.dtype) * sums[:, -1:], out=above)
        return above.argmax(-1)

    return call


def _heads(workload):
    """First and last column, plus one, of every head."""
    return list(itertools.pairwise(np.cumsum([0, *(workload.nvec or workload.shape[1:])]).tolist()))


def _of_heads(workload, add, stack, of_head):
    """(action, log-probability, entropy) of `of_head(first, end)`, added up where there are several heads."""
    heads = _heads(workload)
    if workload.nvec is None:
        return lambda: of_head(*heads[0])

    def call():
        action, log_prob, entropy = zip(*itertools.starmap(of_head, heads), strict=True)
        return stack(action, -1), add(log_prob), add(entropy)

    return call


@peer("NumPy, race", "sample_actions", READY_MADE)
def _numpy_actions(workload, x, forbidden):
    draw = _race_scores(x, np.empty_like(x), forbidden)

    def call():
        scores = draw()
        z = x if forbidden is None else np.where(forbidden, x.dtype.type(FORBIDDEN), x)

        def of_head(first, end):
            action = scores[:, first:end].argmax(-1)
            below = z[:, first:end] - z[:, first:end].max(-1, keepdims=True)
            p = np.exp(below)
            total = p.sum(-1)
            log_total = np.log(total)
            log_prob = np.take_along_axis(below, action[:, None], -1)[:, 0] - log_total
            return action, log_prob, log_total - (p * below).sum(-1) / total

        return _of_heads(workload, sum, np.stack, of_head)()

    return call


@peer("NumPy, categories first, inverse CDF", "sample_actions", HAND_TUNED)
def _numpy_categories_first(workload, x, forbidden):
    """With categories along the first axis every pass runs over many rows side by side."""
    rng = _numpy_rng()
    below, p, sums = (np.empty(x.T.shape, x.dtype) for _ in range(3))
    passed = np.empty(x.T.shape, bool)
    forbidden = None if forbidden is None else np.ascontiguousarray(forbidden.T)
    rows, counted = np.arange(len(x)), np.min_scalar_type(x.shape[1])

    def of_head(first, end):
        head = slice(first, end)
        z = below[head]
        np.subtract(z, z.max(0), out=z)
        np.exp(z, out=p[head])
        np.cumsum(p[head], axis=0, out=sums[head])
        total = sums[end - 1]
        np.less_equal(sums[head], rng.random(len(x), dtype=x.dtype) * total, out=passed[head])
        action = passed[head].view(np.uint8).sum(0, dtype=counted).astype(np.int64)
        np.multiply(p[head], z, out=p[head])
        log_total = np.log(total)
        return action, z[action, rows] - log_total, log_total - p[head].sum(0) / total

    call = _of_heads(workload, sum, np.stack, of_head)

    def masked():
        np.copyto(below, x.T)
        if forbidden is not None:
            np.copyto(below, FORBIDDEN, where=forbidden)
        return call()

    return masked


@peer("NumPy, race", "draw", READY_MADE)
def _numpy_draw(workload, x, forbidden):
    """Index, log-probability and logsumexp."""
    draw = _race_scores(x, np.empty_like(x), forbidden)

    def call():
        index = draw().argmax(-1)
        allowed = x if forbidden is None else np.where(forbidden, -np.inf, x)
        largest = allowed.max(-1)
        logsumexp = largest + np.log(np.exp(allowed - largest[:, None]).sum(-1))
        return index, np.take_along_axis(x, index[:, None], -1)[:, 0] - logsumexp, logsumexp

    return call


@peer("NumPy, inverse CDF", "draw", HAND_TUNED)
def _numpy_draw_inverse_cdf(workload, x, forbidden):
    rng = _numpy_rng()
    buffer, rows = np.empty_like(x), np.arange(len(x))

    def call():
        largest = x.max(-1)
        np.subtract(x, largest[:, None], out=buffer)
        np.exp(buffer, out=buffer)
        if forbidden is not None:
            np.copyto(buffer, 0, where=forbidden)
        np.cumsum(buffer, axis=-1, out=buffer)
        u = rng.random(len(x), dtype=x.dtype) * buffer[:, -1]
        index = np.array([np.searchsorted(sums, at, side="right") for sums, at in zip(buffer, u, strict=True)])
        logsumexp = largest + np.log(buffer[:, -1])
        return index, x[rows, index] - logsumexp, logsumexp

    return call


# NumPy, ids

PART = 100  # one row in so many


def _numpy_generator_a_row(workload, inputs):
    """The noise of every row from a generator seeded with its id: what a row gets does not depend on the others."""
    logits, ids, seeds = as_float32(inputs).logits[::PART], inputs.rows[::PART].tolist(), itertools.count()

    def call():
        seed = next(seeds)
        noise = (np.random.default_rng([seed, row]).gumbel(size=workload.shape[1]) for row in ids)
        return np.array([(x + g).argmax() for x, g in zip(logits, noise, strict=True)])

    return call


PEERS.append(
    Contender(
        f"NumPy, a generator a row (1 in {PART}, scaled)",
        READY_MADE,
        _numpy_generator_a_row,
        lambda workload: workload.ids is not None,
        of_rows=1 / PART,
    )
)


# NumPy, many draws of each row


def _sums_of(x, forbidden):
    """Cumulative weights in float64."""
    weights = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return np.cumsum(weights if forbidden is None else np.where(forbidden, 0, weights), axis=-1)


@peer("NumPy, searchsorted", "categorical", READY_MADE, draws=True)
def _numpy_searchsorted(workload, x, forbidden):
    rng = _numpy_rng()

    def call():
        sums = _sums_of(x, forbidden)
        return np.stack([np.searchsorted(row, rng.random(workload.n) * row[-1], side="right") for row in sums], -1)

    return call


@peer("NumPy, choice", "categorical", READY_MADE, draws=True)
def _numpy_choice(workload, x, forbidden):
    rng = _numpy_rng()

    def call():
        weights = np.diff(_sums_of(x, forbidden), axis=-1, prepend=0)
        return np.stack([rng.choice(row.size, workload.n, p=row / row.sum()) for row in weights], -1)

    return call


@peer("NumPy, counts and shuffle", "categorical", HAND_TUNED, draws=True)
def _numpy_counts(workload, x, forbidden):
    """How often each category comes, then any order: one binomial variable a category in place of a search a draw."""
    rng = _numpy_rng()

    def draws_of(row):
        index = np.repeat(np.arange(row.size), rng.multinomial(workload.n, row / row.sum()))
        rng.shuffle(index)
        return index

    return lambda: np.stack([draws_of(row) for row in np.diff(_sums_of(x, forbidden), axis=-1, prepend=0)], -1)


@peer("NumPy, searchsorted, threads", "categorical", HAND_TUNED, draws=True)
def _numpy_searchsorted_threads(workload, x, forbidden):
    """Draws shared among threads: NumPy searches without the GIL."""
    threads = ng.get_num_threads()
    pool = ThreadPoolExecutor(threads)
    rngs = [_numpy_rng() for _ in range(threads)]
    edges = np.linspace(0, workload.n, threads + 1).astype(int)
    index = np.empty((workload.n, len(x)), np.int64)

    def share(thread, row, sums):
        u = rngs[thread].random(edges[thread + 1] - edges[thread])
        u *= sums[-1]
        index[edges[thread] : edges[thread + 1], row] = np.searchsorted(sums, u, side="right")

    def call():
        for row, sums in enumerate(_sums_of(x, forbidden)):
            list(pool.map(share, range(threads), itertools.repeat(row), itertools.repeat(sums)))
        return index

    return call


# torch


@functools.cache
def _torch():
    import torch

    torch.set_num_threads(ng.get_num_threads())
    return torch


def _torch_arrays(x, forbidden):
    torch = _torch()
    return torch, torch.from_numpy(x), None if forbidden is None else torch.from_numpy(forbidden)


def _torch_result(torch, workload, scores):
    if workload.operation == "categorical":
        return torch.argmax(scores, -1)
    if workload.operation == "gumbel_topk":
        return torch.topk(scores, workload.k)
    return torch.softmax(scores, -1, out=scores)


@peer("torch, Categorical", "categorical", READY_MADE, "torch", fits=lambda workload: workload.shape[1] < 1 << 24)
def _torch_categorical(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)
    draw = torch.distributions.Categorical
    if forbidden is not None:
        return lambda: draw(logits=x.masked_fill(forbidden, -torch.inf), validate_args=False).sample()
    return lambda: draw(logits=x, validate_args=False).sample()


@peer("torch, multinomial", "categorical", READY_MADE, "torch", fits=lambda workload: workload.shape[1] < 1 << 24)
def _torch_multinomial(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)
    if forbidden is not None:
        return lambda: torch.multinomial(torch.softmax(x.masked_fill(forbidden, -torch.inf), -1), 1)
    return lambda: torch.multinomial(torch.softmax(x, -1), 1)


@peer("torch, multinomial, many", "categorical", READY_MADE, "torch", lambda workload: workload.shape[1] < 1 << 24, draws=True)
def _torch_multinomial_many(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)
    x = x if forbidden is None else x.masked_fill(forbidden, -torch.inf)
    return lambda: torch.multinomial(torch.softmax(x, -1), workload.n, replacement=True).T


@peer("torch, searchsorted", "categorical", HAND_TUNED, "torch", draws=True)
def _torch_searchsorted(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)
    x = x if forbidden is None else x.masked_fill(forbidden, -torch.inf)

    def call():
        sums = torch.softmax(x, -1, dtype=torch.float64).cumsum(-1)
        return torch.searchsorted(sums, torch.rand(len(x), workload.n, dtype=torch.float64).mul_(sums[:, -1:]), right=True).T

    return call


@peer("torch, F.gumbel_softmax", "gumbel_softmax", READY_MADE, "torch")
def _torch_gumbel_softmax(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)
    assert forbidden is None
    return lambda: torch.nn.functional.gumbel_softmax(x)


def _torch_less(workload, x, forbidden, draw):
    """The call that takes a fresh `draw(torch, buffer)` off the logits and reduces what is left."""
    torch, x, forbidden = _torch_arrays(x, forbidden)
    buffer = torch.empty_like(x)

    def call():
        torch.sub(x, draw(torch, buffer), out=buffer)
        if forbidden is not None:
            buffer.masked_fill_(forbidden, -torch.inf)
        return _torch_result(torch, workload, buffer)

    return call


@peer("torch, race", NOISY, READY_MADE, "torch")
def _torch_race(workload, x, forbidden):
    return _torch_less(workload, x, forbidden, lambda torch, buffer: buffer.exponential_().log_())


@peer("torch, uniform race", NOISY, HAND_TUNED, "torch")
def _torch_uniform_race(workload, x, forbidden):
    return _torch_less(workload, x, forbidden, lambda torch, buffer: torch.rand(buffer.shape, out=buffer).log_().neg_().log_())


@peer("torch, inverse CDF", "categorical", HAND_TUNED, "torch")
def _torch_inverse_cdf(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)
    sums = torch.empty(x.shape, dtype=torch.float64 if x.shape[1] > WIDE else x.dtype)
    buffer = torch.empty_like(x) if sums.dtype != x.dtype else sums

    def call():
        allowed = x if forbidden is None else torch.where(forbidden, -torch.inf, x)
        torch.softmax(allowed, -1, out=buffer)
        torch.cumsum(buffer, -1, dtype=sums.dtype, out=sums)
        u = torch.rand(len(x), 1, dtype=sums.dtype).mul_(sums[:, -1:])
        return torch.searchsorted(sums, u, right=True)

    return call


def _torch_known(torch, x):
    """Index, log-probability and entropy by torch's Categorical."""
    policy = torch.distributions.Categorical(logits=x, validate_args=False)
    index = policy.sample()
    return index, policy.log_prob(index), policy.entropy()


def _torch_policy(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)

    def call():
        allowed = x if forbidden is None else x.masked_fill(forbidden, -torch.inf)
        if workload.nvec is None:
            return _torch_known(torch, allowed)
        parts = (_torch_known(torch, part) for part in torch.split(allowed, workload.nvec, -1))
        action, log_prob, entropy = zip(*parts, strict=True)
        return torch.stack(action, -1), torch.stack(log_prob).sum(0), torch.stack(entropy).sum(0)

    return call


@peer("torch, Categorical", "sample_actions", READY_MADE, "torch", fits=lambda workload: workload.nvec is None)
def _torch_actions(workload, x, forbidden):
    return _torch_policy(workload, x, forbidden)


@peer("torch, Categorical a head", "sample_actions", READY_MADE, "torch", fits=lambda workload: workload.nvec is not None)
def _torch_heads(workload, x, forbidden):
    return _torch_policy(workload, x, forbidden)


@peer("torch, inverse CDF", "sample_actions", HAND_TUNED, "torch")
def _torch_actions_inverse_cdf(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)

    def call():
        allowed = x if forbidden is None else x.masked_fill(forbidden, FORBIDDEN)

        def of_head(first, end):
            log_p = torch.log_softmax(allowed[:, first:end], -1)
            p = log_p.exp()
            sums = p.cumsum(-1)
            action = torch.searchsorted(sums, torch.rand(len(x), 1, dtype=x.dtype).mul_(sums[:, -1:]), right=True)
            return action[:, 0], log_p.gather(-1, action)[:, 0], -torch.linalg.vecdot(p, log_p)

        return _of_heads(workload, sum, torch.stack, of_head)()

    return call


@peer("torch, Categorical", "draw", READY_MADE, "torch")
def _torch_draw(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)

    def call():
        allowed = x if forbidden is None else x.masked_fill(forbidden, -torch.inf)
        tokens = torch.distributions.Categorical(logits=allowed, validate_args=False)
        index = tokens.sample()
        return index, tokens.log_prob(index), torch.logsumexp(allowed, -1)

    return call


@peer("torch, inverse CDF", "draw", HAND_TUNED, "torch")
def _torch_draw_inverse_cdf(workload, x, forbidden):
    torch, x, forbidden = _torch_arrays(x, forbidden)
    buffer = torch.empty_like(x)

    def call():
        allowed = x if forbidden is None else x.masked_fill(forbidden, -torch.inf)
        logsumexp = torch.logsumexp(allowed, -1, keepdim=True)
        torch.cumsum(torch.sub(allowed, logsumexp, out=buffer).exp_(), -1, out=buffer)
        index = torch.searchsorted(buffer, torch.rand(len(x), 1, dtype=x.dtype).mul_(buffer[:, -1:]), right=True)
        return index[:, 0], (allowed.gather(-1, index) - logsumexp)[:, 0], logsumexp[:, 0]

    return call


# JAX


def _jitted(function, x, *more):
    """Call of a jitted function of (key, logits, ...); the same key each time, which saves JAX the making of a new one."""
    import jax

    with jax.enable_x64(x.dtype == np.float64):
        run, key = jax.jit(function), jax.random.key(0)
        arrays = [jax.numpy.asarray(array) for array in (x, *more)]

    def call():
        return jax.block_until_ready(run(key, *arrays))

    def wide():
        with jax.enable_x64(True):
            return call()

    return wide if x.dtype == np.float64 else call


@peer("JAX, categorical", "categorical", READY_MADE, "jax")
def _jax_categorical(workload, x, forbidden):
    import jax

    if forbidden is None:
        return _jitted(lambda key, x: jax.random.categorical(key, x), x)
    return _jitted(lambda key, x, no: jax.random.categorical(key, jax.numpy.where(no, -np.inf, x)), x, forbidden)


@peer("JAX, inverse CDF", "categorical", HAND_TUNED, "jax", fits=lambda workload: workload.shape[1] <= WIDE)
def _jax_inverse_cdf(workload, x, forbidden):
    import jax

    jnp = jax.numpy

    def draw(key, x, no=None):
        weights = jnp.exp(x - x.max(-1, keepdims=True))
        weights = weights if no is None else jnp.where(no, 0, weights)
        sums = jnp.cumsum(weights, -1)
        u = jax.random.uniform(key, (len(x), 1), x.dtype) * sums[:, -1:]
        if x.shape[1] < 512:  # counting vectorises, a binary search does not
            return (sums <= u).sum(-1)
        return jax.vmap(lambda row, at: jnp.searchsorted(row, at, side="right"))(sums, u)

    return _jitted(draw, x, *(() if forbidden is None else (forbidden,)))


@peer("JAX, gumbel_softmax", "gumbel_softmax", READY_MADE, "jax")
def _jax_softmax(workload, x, forbidden):
    import jax

    return _jitted(lambda key, x: jax.nn.softmax(x + jax.random.gumbel(key, x.shape, x.dtype), -1), x)


@peer("JAX, top_k", "gumbel_topk", READY_MADE, "jax")
def _jax_topk(workload, x, forbidden):
    import jax

    return _jitted(lambda key, x: jax.lax.top_k(x + jax.random.gumbel(key, x.shape, x.dtype), workload.k), x)


@peer("JAX, categorical", "sample_actions", READY_MADE, "jax")
def _jax_actions(workload, x, forbidden):
    import jax

    jnp = jax.numpy

    def policy(key, x, no=None):
        x = x if no is None else jnp.where(no, FORBIDDEN, x)
        keys = iter(jax.random.split(key, len(_heads(workload))))

        def of_head(first, end):
            log_p = jax.nn.log_softmax(x[:, first:end], -1)
            action = jax.random.categorical(next(keys), log_p)
            return action, jnp.take_along_axis(log_p, action[:, None], -1)[:, 0], -(jnp.exp(log_p) * log_p).sum(-1)

        return _of_heads(workload, sum, jnp.stack, of_head)()

    return _jitted(policy, x, *(() if forbidden is None else (forbidden,)))


@peer("JAX, categorical", "draw", READY_MADE, "jax")
def _jax_draw(workload, x, forbidden):
    import jax

    def draw(key, x, no=None):
        x = x if no is None else jax.numpy.where(no, -np.inf, x)
        index, logsumexp = jax.random.categorical(key, x), jax.nn.logsumexp(x, -1)
        return index, jax.numpy.take_along_axis(x, index[:, None], -1)[:, 0] - logsumexp, logsumexp

    return _jitted(draw, x, *(() if forbidden is None else (forbidden,)))
