"""For those who look at what the compiler did.

`report` is what has been compiled, `dispatchers` the kernels of a function, `gpu` the code for GPUs without one; `assembly` and
`ptx` read texts, `command` is ``numgumbel asm``.
"""
