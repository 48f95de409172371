"""What a results file of cpu.py says about a workload: numgumbel's time and its ratios to the others."""

from contender import BAR, HAND_TUNED, KINDS, OURS, READY_MADE

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
    if us is None:
        return ""
    value, unit = (us, "us") if us < 1000 else (us / 1000, "ms")
    return f"{value:.{max(0, 2 - len(str(int(value))) + (value >= 1))}f} {unit}"


def ratio(value):
    """A ratio for people."""
    return "" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


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

NOTE = """Ready-made is the fastest of what libraries offer for the job, and of logits plus Gumbel noise in a few plain lines;
hand-tuned is the fastest of all else that could be written in them. An inverse CDF keeps no noise to ask for again, and its
cumulative sums are coarse in float32. np.max reads the same array on one thread; torch.softmax is the plain softmax, on as many
threads as the others may use.
"""
