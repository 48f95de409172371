"""What a results file of cpu.py says: of each workload numgumbel's time and its ratios to the others, and named comparisons."""

from contender import BAR, HAND_TUNED, KINDS, OURS, READY_MADE

from numgumbel.bench import report

LIBRARIES = {"numpy": "NumPy", "torch": "torch", "jax": "JAX"}  # distribution: name for people


def summary(entry):
    """Figures of one workload of a results file; None where there is nothing to compare with. Times are in microseconds."""
    medians = {kind: {} for kind in KINDS}
    for contender in entry["contenders"]:
        medians[contender["kind"]][contender["name"]] = contender["median_us"]
    ours, bars = medians[OURS], medians[BAR]
    own = ours["numgumbel"]
    alone = ours.get("numgumbel, one thread")
    softmax = bars.get("torch.softmax")
    return {
        "us": own,
        "ns_a_category": own * 1e3 / entry["elements"] if entry.get("draws", 1) == 1 else None,
        "ns_a_draw": own * 1e3 / entry.get("draws", 1),
        READY_MADE: best(medians[READY_MADE], own),
        HAND_TUNED: best(medians[HAND_TUNED], own),
        "to_max": own / bars["np.max"],
        "to_softmax": softmax and own / softmax,
        "one_thread_us": alone,
        "second_thread": alone and alone / own,
    }


def best(peers, own):
    """(name, time, how many times faster we are) of the fastest; three None where there is none."""
    name = min(peers, key=peers.get, default=None)
    return (None, None, None) if name is None else (name, peers[name], peers[name] / own)


def duration(us):
    """A time for people: three digits and a unit."""
    return "" if us is None else report.duration(1e3 * us)


def ratio(value):
    """A ratio for people."""
    return "" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def fine_ratio(value):
    """A ratio for people, finer where it is about 1."""
    return f"{value:.2f}" if value < 2 else ratio(value)


def best_texts(name, us, times_faster):
    """Cells of the fastest of a kind."""
    return name or "", duration(us), ratio(times_faster)


def row(entry):
    """Texts of a workload's row in a table."""
    s = summary(entry)
    return [
        entry["id"],
        duration(s["us"]),
        f"{s['ns_a_draw']:.2f} a draw"
        if s["ns_a_category"] is None
        else f"{s['ns_a_category']:.{2 if s['ns_a_category'] < 100 else 0}f}",
        *(text for kind in (READY_MADE, HAND_TUNED) for text in best_texts(*s[kind])),
        ratio(s["to_max"]),
        ratio(s["to_softmax"]),
        ratio(s["second_thread"]),
    ]


COLUMNS = (
    "workload",
    "numgumbel",
    "ns a category",
    READY_MADE,
    "its time",
    "times faster",
    HAND_TUNED,
    "its time",
    "times faster",
    "np.max = 1",
    "torch.softmax = 1",
    "gain by threads",
)
NAMES = 0, 3, 6  # numbers of the columns that hold names

# A named comparison a line: workload, contender, and how many times faster numgumbel is meant to be, or None.
AGAINST = (
    ("rl.b8_a6.actions.f32", "torch, Categorical", 10),
    ("rl.b4096_a4.actions.f32", "torch, Categorical", 15),
    ("rl.b4096_a18.actions.f32", "torch, Categorical", 15),
    ("rl.b4096_a18.actions.masked.f32", "torch, Categorical", None),
    ("rl.b6144_a78.heads7.f32", "torch, Categorical a head", 15),
    ("sim.b100000_a30.ids7787.f32", "NumPy, race", 2),
    ("sim.b100000_a30.ids7787.f32", "NumPy, a generator a row (1 in 100, scaled)", 100),
    ("sim.b1_k10000.n1000000.inverse_cdf.f32", "NumPy, searchsorted", 3),
    ("vocab.b32_k128256.bf16", "numgumbel, float32", None),
    ("vocab.b32_k128256.f16", "numgumbel, float32", None),
    ("vocab.b32_k128256.draw.f32", "numgumbel, categorical", 0.5),
    ("vocab.b64_k32000.top5.f32", "torch, race", 70),
    ("vocab.b64_k32000.top100.f32", "torch, race", 25),
)


def comparisons(entries):
    """Texts of the rows of `AGAINST` that some workloads' entries have the figures for."""
    times = {entry["id"]: {c["name"]: c["median_us"] for c in entry["contenders"]} for entry in entries}
    return [
        [id, duration(us["numgumbel"]), name, duration(us[name]), fine_ratio(us[name] / us["numgumbel"]), f"{goal or ''}"]
        for id, name, goal in AGAINST
        if name in (us := times.get(id, {}))
    ]


AGAINST_COLUMNS = "workload", "numgumbel", "against", "its time", "times faster", "goal"
AGAINST_NAMES = 0, 2
AGAINST_NOTE = """The same medians, each against one named other; the goal is how many times faster numgumbel is meant to be.
Actions come with log-probability and entropy; torch's Categorical is made in the call, one a head, and does not check its
arguments. "torch, race" is logits plus noise, then topk. With ids, noise is that of row and column; NumPy's race has noise in
order of arrival, a generator a row that of the row. The draw comes with log_prob and logsumexp and stands against the bare
index, of which it may take twice the time; float16 and bfloat16 stand against the same numbers in float32.
"""

NOTE = """Ready-made is the fastest of what libraries offer for the job, and of logits plus Gumbel noise in a few plain lines;
hand-tuned is the fastest of all else that could be written in them. An inverse CDF keeps no noise to ask for again, and its
cumulative sums are coarse in float32. np.max reads the same array on one thread; torch.softmax is the plain softmax, on as many
threads as the others may use. Peers read float16 and bfloat16 as copies in float32, and know no ids.
"""
