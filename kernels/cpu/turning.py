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
def turn_block(typingctx, lanes, at, spacing, cells, outer, inner, begin):
    """lanes[at + r + spacing * h] = cells[outer, inner + r, begin + h], h below 8, for one vector of rows: 64 bytes of them.

    Reads eight columns from each row, whatever its width: the caller knows that memory to be there, and columns to be packed.
    OUT real[n] contiguous; int64; int64; IN real[outer, inner, K]; int64 three times. Returns the number of rows.
    """
    element = lanes.dtype
    count = 64 // (element.bitwidth // 8)  # rows a block: lanes of a vector of 512 bits

    def codegen(context, builder, signature, arguments):
        destination = context.make_array(signature.args[0])(context, builder, arguments[0])
        source = context.make_array(signature.args[3])(context, builder, arguments[3])
        at, spacing = arguments[1], arguments[2]
        word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        real = context.get_data_type(element)
        eight, size = ir.VectorType(real, GROUP), element.bitwidth // 8
        strides = [builder.extract_value(source.strides, axis) for axis in range(3)]
        first = word(0)
        for place, stride in zip(arguments[4:], strides, strict=True):
            first = builder.add(first, builder.mul(place, stride))
        base = builder.gep(builder.bitcast(source.data, byte), [first])

        def load(r):
            pointer = builder.bitcast(builder.gep(base, [builder.mul(strides[1], word(r))]), eight.as_pointer())
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

    return types.int64(lanes, types.int64, types.int64, cells, *[types.int64] * 3), codegen


@loop
def turn_rows(lanes, at, spacing, cells, start, n, begin, width):
    """lanes[at + r + spacing * h] = column begin + h of row start + r, by whole blocks of rows as far as that is safe.

    Parameters
    ----------
    lanes : OUT real[>= at + 8 * spacing], contiguous
        Room for eight columns, whatever the width of the rows: what is beyond it is filled with anything.
    at, spacing : int64
        Place of the first row; distance of columns.
    cells : IN real[outer, inner, K]
        Of the element type of `lanes`: logits, or column ids.
    start, n, begin, width : int64
        Rows start .. start + n in C order of (outer, inner), and columns begin .. begin + width, of which there are 1 to 8.
    """
    count, step, size = cells.shape[1], cells.strides[1], cells.itemsize
    # Rows may be one and the same, as in many draws of it, but then nothing may be read beyond its end.
    packed = (cells.strides[2] == size) & ((step > 0) | ((step == 0) & (width == GROUP)))
    outer = start // count
    inner = start - outer * count
    done = 0
    while done < n:
        m = min(n - done, count - inner)
        whole, block = 0, 64 // size
        if packed and done & 15 == 0:
            # What is read beyond a row's end must end before the last row does.
            safe = m if width == GROUP else m - ((GROUP - width) * size + step - 1) // step
            while whole + block <= safe:
                whole += turn_block(lanes, at + done + whole, spacing, cells, outer, inner + whole, begin)
        for r in range(whole, m):
            for h in range(width):
                lanes[at + h * spacing + done + r] = cells[outer, inner + r, begin + h]
        outer, inner, done = outer + 1, 0, done + m
