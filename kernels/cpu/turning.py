"""Rows turned into lanes: a block of short rows transposed in vector registers.

Copied one by one, a logit takes a load and a store, 0.3 ns, as long as its noise. Here eight columns of 16 rows (8 in float64)
are loaded as they lie and exchanged between registers in three steps, one for each bit of the column: 24 shuffles for 128
logits, 0.09 ns each.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..jit import loop

GROUP = 8


@intrinsic
def turn_block(typingctx, lanes, at, spacing, rows, first):
    """lanes[at + r + spacing * h] = rows[first + r, h] for h below 8 and one vector of rows: 16 in float32, 8 in float64.

    Reads eight columns from each row, whatever its width: the caller knows that memory to be there. OUT real[n] contiguous;
    int64; int64; IN real[n, any] with packed rows; int64.
    """
    element = lanes.dtype
    count = 64 // (element.bitwidth // 8)  # rows a block: lanes of a vector of 512 bits

    def codegen(context, builder, signature, arguments):
        destination = context.make_array(signature.args[0])(context, builder, arguments[0])
        source = context.make_array(signature.args[3])(context, builder, arguments[3])
        at, spacing, first = arguments[1], arguments[2], arguments[4]
        word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        real = context.get_data_type(element)
        eight, size = ir.VectorType(real, GROUP), element.bitwidth // 8
        stride = builder.extract_value(source.strides, 0)
        base = builder.bitcast(source.data, byte)

        def load(r):
            offset = builder.mul(stride, builder.add(first, word(r)))
            pointer = builder.bitcast(builder.gep(base, [offset]), eight.as_pointer())
            return builder.load(pointer, align=size)

        def shuffle(x, y, places):
            return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))

        vectors = [load(r) for r in range(GROUP)]
        if count == 16:  # rows r and r + 8 share a vector
            vectors = [shuffle(v, load(r + GROUP), list(range(16))) for r, v in enumerate(vectors)]
        for bit in (1, 2, 4):
            for r in range(GROUP):
                if r & bit == 0:
                    x, y = vectors[r], vectors[r | bit]
                    low = [e if e & bit == 0 else count + (e ^ bit) for e in range(count)]
                    high = [e ^ bit if e & bit == 0 else count + e for e in range(count)]
                    vectors[r], vectors[r | bit] = shuffle(x, y, low), shuffle(x, y, high)
        full = ir.VectorType(real, count).as_pointer()
        out = builder.bitcast(destination.data, byte)
        for h, vector in enumerate(vectors):
            place = builder.add(at, builder.mul(spacing, word(h)))
            pointer = builder.gep(out, [builder.mul(place, word(size))])
            builder.store(vector, builder.bitcast(pointer, full), align=size)
        return word(count)

    return types.int64(lanes, types.int64, types.int64, rows, types.int64), codegen


@loop
def turn_rows(lanes, rows, spacing):
    """lanes[r + spacing * h] = rows[r, h] for as many whole blocks of rows as lie safely in memory; how many rows were done.

    Parameters
    ----------
    lanes : OUT real[n], contiguous
        Room for eight columns, whatever the width of the rows: more than their width is filled with anything.
    rows : IN real[m, 1 .. 8], any strides
    spacing : int64
        Distance of columns in `lanes`.
    """
    m, width = rows.shape
    step, size = rows.strides[0], rows.itemsize
    if rows.strides[1] != size or step <= 0:
        return 0
    # What is read beyond a row's end must end before the last row does.
    safe = m if width == GROUP else m - ((GROUP - width) * size + step - 1) // step
    done = 0
    block = 64 // size
    while done + block <= safe:
        done += turn_block(lanes, done, spacing, rows, done)
    return done
