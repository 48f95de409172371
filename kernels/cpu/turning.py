"""Rows turned into lanes: a block of short rows transposed in vector registers.

Copied one by one, a logit takes a load and a store, 0.3 ns, as long as its noise. Here eight columns of 16 rows (8 in float64)
are loaded as they lie and exchanged between registers in three steps, one for each bit of the column: 24 shuffles for 128
logits, 0.09 ns each.

Halves are turned two at a time, pairs of columns of 32 bits, which takes half of the shuffles, and widened in their lanes.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy import uint32, uint64

from ..elementary import bits_of_f32
from ..halves import f32_of_f16
from ..jit import BFLOAT16, FLOAT16, by_format, has_instruction, loop, scalar
from .cells import as_real

GROUP = 8


@intrinsic
def turn_block(typingctx, lanes, at, spacing, cells, outer, inner, begin):
    """lanes[at + r + spacing * h] = cells[outer, inner + r, begin + h], h below 8, for one vector of rows: 64 bytes of them.

    Reads eight columns from each row, whatever its width: the caller knows that memory to be there, and columns to be packed.
    A float16 is left to `widen_lanes`, as the low bits of a lane, where there is no instruction to widen it. OUT real[n]
    contiguous; int64; int64; IN cell[outer, inner, K]; int64 three times. Returns the number of rows.
    """
    element = lanes.dtype
    count = 64 // (element.bitwidth // 8)  # rows a block: lanes of a vector of 512 bits
    halves = cells.dtype in (FLOAT16, BFLOAT16)
    units = GROUP // 2 if halves else GROUP  # what is turned: cells, or pairs of halves

    def codegen(context, builder, signature, arguments):
        destination = context.make_array(signature.args[0])(context, builder, arguments[0])
        source = context.make_array(signature.args[3])(context, builder, arguments[3])
        at, spacing = arguments[1], arguments[2]
        word, byte = ir.IntType(64), ir.IntType(8).as_pointer()
        real, number = context.get_data_type(element), ir.IntType(32)
        unit, size = number if halves else real, element.bitwidth // 8
        packed = ir.VectorType(unit, units).as_pointer()
        strides = [builder.extract_value(source.strides, axis) for axis in range(3)]
        first = word(0)
        for place, stride in zip(arguments[4:], strides, strict=True):
            first = builder.add(first, builder.mul(place, stride))
        base = builder.gep(builder.bitcast(source.data, byte), [first])

        def load(r):
            pointer = builder.bitcast(builder.gep(base, [builder.mul(strides[1], word(r))]), packed)
            return builder.load(pointer, align=cells.dtype.bitwidth // 8)

        def shuffle(x, y, places):
            return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(number, len(places)), places))

        vectors = [load(r) for r in range(count)]
        apart = units
        while len(vectors) > units:  # rows r and r + 8 share a vector; of pairs, rows r, r + 4, r + 8 and r + 12
            places = list(range(2 * vectors[0].type.count))
            first = [r for r in range(len(vectors)) if r & apart == 0]
            vectors = [shuffle(vectors[r], vectors[r + apart], places) for r in first]
        for bit in (1, 2, 4):
            for r in range(units):
                if r & bit == 0 and bit < units:
                    x, y = vectors[r], vectors[r | bit]
                    low = [e if e & bit == 0 else count + (e ^ bit) for e in range(count)]
                    high = [e ^ bit if e & bit == 0 else count + e for e in range(count)]
                    vectors[r], vectors[r | bit] = shuffle(x, y, low), shuffle(x, y, high)
        if halves:  # apart again: a bfloat16 is the high bits of its float32, a float16 the low ones of a number
            wide = ir.VectorType(number, count)
            shift, high = ir.Constant(wide, [16] * count), ir.Constant(wide, [0xFFFF0000] * count)
            if cells.dtype == BFLOAT16:
                columns = [(builder.shl(v, shift), builder.and_(v, high)) for v in vectors]
            else:
                columns = [(builder.lshr(builder.shl(v, shift), shift), builder.lshr(v, shift)) for v in vectors]
            vectors = [v for pair in columns for v in pair]
            if cells.dtype == FLOAT16 and has_instruction("f16c"):
                vectors = [builder.trunc(v, ir.VectorType(ir.IntType(16), count)) for v in vectors]
                vectors = [builder.bitcast(v, ir.VectorType(ir.HalfType(), count)) for v in vectors]
                vectors = [builder.fpext(v, ir.VectorType(real, count)) for v in vectors]
            else:
                vectors = [builder.bitcast(v, ir.VectorType(real, count)) for v in vectors]
        full = ir.VectorType(real, count).as_pointer()
        out = builder.bitcast(destination.data, byte)
        for h, vector in enumerate(vectors):
            place = builder.add(at, builder.mul(spacing, word(h)))
            pointer = builder.gep(out, [builder.mul(place, word(size))])
            builder.store(vector, builder.bitcast(pointer, full), align=size)
        return word(count)

    return types.int64(lanes, types.int64, types.int64, cells, *[types.int64] * 3), codegen


@scalar
def _widen_nothing(cells, lanes, at, spacing, n):
    """A column's lanes from the bits that `turn_block` left there. INOUT real[n] contiguous."""


@scalar
def _widen_f16(cells, lanes, at, spacing, n):
    for h in range(GROUP):
        column = lanes[at + spacing * h :]
        for r in range(n):
            i = uint64(r)
            column[i] = f32_of_f16(uint32(bits_of_f32(column[i])))


widen_lanes = by_format(_widen_nothing, _widen_nothing if has_instruction("f16c") else _widen_f16, _widen_nothing)


@loop
def turn_rows(lanes, at, spacing, cells, start, n, begin, width):
    """lanes[at + r + spacing * h] = column begin + h of row start + r, by whole blocks of rows as far as that is safe.

    Parameters
    ----------
    lanes : OUT real[>= at + 8 * spacing], contiguous
        Room for eight columns, whatever the width of the rows: what is beyond it is filled with anything.
    at, spacing : int64
        Place of the first row; distance of columns.
    cells : IN cell[outer, inner, K]
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
        whole, block = 0, 64 // lanes.itemsize
        if packed and done & 15 == 0:
            # What is read beyond a row's end must end before the last row of the array does.
            safe = m if width == GROUP else min(m, count - inner - ((GROUP - width) * size + step - 1) // step)
            while whole + block <= safe:
                whole += turn_block(lanes, at + done + whole, spacing, cells, outer, inner + whole, begin)
            widen_lanes(cells, lanes, at + done, spacing, whole)
        for r in range(whole, m):
            for h in range(width):
                lanes[at + h * spacing + done + r] = as_real(cells[outer, inner + r, begin + h])
        outer, inner, done = outer + 1, 0, done + m
