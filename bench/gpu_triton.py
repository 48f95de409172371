"""Gumbel-max in Triton as one would write it: two stages, with Philox and two logarithms a category.

Blocks each find the best score of a part of a row; a second kernel joins them. Imported where Triton is installed.
"""

import torch
import triton
import triton.language as tl

BLOCK = 2048


@triton.jit
def parts(x, scores, indices, columns, blocks, seed, BLOCK: tl.constexpr):
    """The best of one part of one row."""
    row, part = tl.program_id(0), tl.program_id(1)
    at = part * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + row.to(tl.int64) * columns + at, mask=at < columns, other=-float("inf")).to(tl.float32)
    uniform = tl.maximum(tl.rand(seed, row * columns + at), 1e-10)
    score = value - tl.log(-tl.log(uniform))
    best, index = tl.max(score, axis=0, return_indices=True)
    tl.store(scores + row * blocks + part, best)
    tl.store(indices + row * blocks + part, part * BLOCK + index)


@triton.jit
def join(scores, indices, out, blocks, BLOCKS: tl.constexpr):
    """The best of the parts of one row."""
    row, at = tl.program_id(0), tl.arange(0, BLOCKS)
    score = tl.load(scores + row * blocks + at, mask=at < blocks, other=-float("inf"))
    _, part = tl.max(score, axis=0, return_indices=True)
    tl.store(out + row, tl.load(indices + row * blocks + part).to(tl.int64))


def two_stages(x):
    """A call that samples each row of a tensor, at another seed every time."""
    rows, columns = x.shape
    blocks = -(-columns // BLOCK)
    scores = torch.empty((rows, blocks), device=x.device)
    indices = torch.empty((rows, blocks), dtype=torch.int32, device=x.device)
    out = torch.empty(rows, dtype=torch.int64, device=x.device)
    seeds = iter(range(1 << 40)).__next__

    def call():
        parts[(rows, blocks)](x, scores, indices, columns, blocks, seeds(), BLOCK=BLOCK, num_warps=8)
        join[(rows,)](scores, indices, out, blocks, BLOCKS=triton.next_power_of_2(blocks))
        return out

    call()
    return call
