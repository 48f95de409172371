"""``numgumbel bench``: times of the frozen workloads, each of them verified, and whether they differ from those of another run.

`clock` times a call on the host, `gpu` on a GPU; `subjects` are what is timed, `peers` those of other libraries, `passes` go
through all of them again and again; `roofline` is what memory allows, `compiling` what the first call waits for; `compare`
tells two runs apart; `files`, `report` and `plot` show it; `nvtx` marks it for a profiler;
`fixtures` are for pytest-benchmark; `command` is the command line.
"""
