"""What a results file of cpu.py says about a workload: numgumbel's time and its ratios to the others."""

KINDS = "numgumbel", "peer", "bar"
LIBRARIES = {"numpy": "NumPy", "torch": "torch", "jax": "JAX"}  # distribution: name for people


def summary(entry):
    """Figures of one workload of a results file; None where there is nothing to compare with. Times are in microseconds."""
    medians = {kind: {c["name"]: c["median_us"] for c in entry["contenders"] if c["kind"] == kind} for kind in KINDS}
    ours, peers, bars = (medians[kind] for kind in KINDS)
    own = ours["numgumbel"]
    best = min(peers, key=peers.get, default=None)
    alone = ours.get("numgumbel, one thread")
    softmax = bars.get("torch.softmax")
    return {
        "us": own,
        "ns_a_category": own * 1e3 / entry["elements"],
        "peer": best,
        "peer_us": peers.get(best),
        "times_faster": best and peers[best] / own,
        "to_max": own / bars["np.max"],
        "to_softmax": softmax and own / softmax,
        "one_thread_us": alone,
        "second_thread": alone and alone / own,
    }


def duration(us):
    """A time for people: three digits and a unit."""
    if us is None:
        return ""
    value, unit = (us, "us") if us < 1000 else (us / 1000, "ms")
    return f"{value:.{max(0, 2 - len(str(int(value))) + (value >= 1))}f} {unit}"


def ratio(value):
    """A ratio for people."""
    return "" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def row(entry):
    """Texts of a workload's row in a table."""
    s = summary(entry)
    return [
        entry["id"],
        duration(s["us"]),
        f"{s['ns_a_category']:.{2 if s['ns_a_category'] < 100 else 0}f}",
        s["peer"] or "",
        duration(s["peer_us"]),
        ratio(s["times_faster"]),
        ratio(s["to_max"]),
        ratio(s["to_softmax"]),
        ratio(s["second_thread"]),
    ]


COLUMNS = (
    "workload",
    "numgumbel",
    "ns a category",
    "best of the others",
    "its time",
    "times faster",
    "np.max = 1",
    "torch.softmax = 1",
    "gain by threads",
)
