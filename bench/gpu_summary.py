"""What a results file of gpu.py says: a row of figures a contender, and what was asked of the kernels beside what was seen."""

from contender import BAR, OURS
from summary import duration, fine_ratio

ROW_COLUMNS = "workload", "contender", "cold L2", "warm", "enqueue", "bytes / time, cold", "of copy", "warm", "of copy"
ROW_NAMES = 0, 1
NOTE = """Medians. Times are of the GPU's clock: cold is one call, just after another buffer has been written through the
second-level cache, with what two events take; warm is a call in a row of calls on the same arrays. Enqueue is the
host's time until the call returns. JAX works on streams of its own: its row of calls is timed by the host. Bytes are those that
must be read and written at least; a copy reads and writes too. A bar samples nothing, it finds the largest of all logits.
"""
ASKED_COLUMNS = "asked", "of at", "seen", "met"

HUNDREDS, TENS, ONE = "vocab.b512_k128256", "vocab.b64_k128256", "vocab.b1_k128256"
ACTIONS = "rl.b4096_a18.actions.f32"
SOFT, SHARP = "vae.b1024_k8192.softmax.f32", "vae.b1024_k8192.softmax.tau05.f32"


def rows(entry, bandwidth):
    """Texts of the rows of one workload; `bandwidth` of the copy, bytes a second."""
    moved = entry["bytes_read"] + entry["bytes_written"]
    for contender in entry["contenders"]:
        texts = [entry["id"], contender["name"]]
        if said := contender.get("refused") or contender.get("failed"):
            yield [*texts, *[""] * 6, said]
            continue
        cold, warm = contender["cold_us"], contender["warm_us"]
        speeds = []
        for us in (cold, warm):
            speeds += ["", ""] if us is None else [f"{moved / us / 1e3:.0f} GB/s", percent(1e6 * moved / us / bandwidth)]
        yield [*texts, duration(cold), duration(warm), duration(contender["enqueue_us"]), *speeds]


def percent(share):
    """A share for people."""
    return f"{100 * share:.{1 if share < 0.1 else 0}f} %"


class Results:
    """Figures of a results file by workload and contender; None where they are not there."""

    def __init__(self, results):
        self.bandwidth = results["copy"]["bytes_a_second"]
        self._entries = {entry["id"]: entry for entry in results["workloads"]}

    def entry(self, id, name):
        """What is said of a workload as a whole."""
        return self._entries.get(id, {}).get(name)

    def us(self, id, figure="cold_us", name="numgumbel"):
        """A time of one contender."""
        found = [c for c in self._entries.get(id, {}).get("contenders", ()) if c["name"] == name]
        return found[0].get(figure) if found else None

    def best(self, id, begins, figure="cold_us", kinds=None):
        """The shortest time of those whose names begin so, of all kinds that sample but ours if no kinds are given."""
        times = [
            c[figure]
            for c in self._entries.get(id, {}).get("contenders", ())
            if c["name"].startswith(begins)
            and c.get(figure)
            and (c["kind"] in kinds if kinds else c["kind"] not in (OURS, BAR))
        ]
        return min(times, default=None)

    def share(self, id, figure="cold_us", written=False):
        """Bytes read, and written where wanted, over time, as a share of the copy's."""
        us = self.us(id, figure)
        if us is None:
            return None
        moved = self.entry(id, "bytes_read") + (self.entry(id, "bytes_written") if written else 0)
        return 1e6 * moved / us / self.bandwidth


def _over(a, b):
    return a / b if a and b else None


def asked(results):
    """(what was asked, "at least" or "at most", the bound or None, what was seen or None, unit) a line."""
    r = Results(results)
    wide, some, one = f"{HUNDREDS}.f32", f"{TENS}.f32", f"{ONE}.f32"
    lines = [
        ("categorical 512 x 128256, cold, bytes read of copy", "at least", 0.8, r.share(wide), "share"),
        ("categorical 64 x 128256, cold, bytes read of copy", "at least", 0.6, r.share(some), "share"),
        ("the same, warm", "at least", None, r.share(some, "warm_us"), "share"),
    ]
    for id, shape in ((HUNDREDS, "512 x 128256"), (TENS, "64 x 128256")):
        own = r.us(f"{id}.f32")
        lines += [
            (f"categorical {shape}, time in bfloat16 over float32", "at most", 1.0, _over(r.us(f"{id}.bf16"), own), "ratio"),
            (
                f"categorical {shape}, torch's best over ours",
                "at least",
                3.0,
                _over(r.best(f"{id}.f32", "torch"), own),
                "ratio",
            ),
            (f"categorical {shape}, Triton over ours", "at least", 2.0, _over(r.best(f"{id}.f32", "Triton"), own), "ratio"),
        ]
    for figure, state in (("cold_us", "cold"), ("warm_us", "warm")):
        ratio = _over(r.us(one, figure), r.best(one, "max", figure, (BAR,)))
        lines.append((f"categorical 1 x 128256 over a device-wide max, {state}", "at most", 1.3, ratio, "ratio"))
    name = "sample_actions 4096 x 18"
    return [
        *lines,
        (f"{name}, launches", "at most", 1, r.entry(ACTIONS, "launches"), "count"),
        (f"{name}, warm", "at most", 10.0, r.us(ACTIONS, "warm_us"), "us"),
        (f"{name}, enqueue, with out=", "at most", 15.0, r.us(ACTIONS, "enqueue_us"), "us"),
        (f"{name}, enqueue, plan", "at most", 15.0, r.us(ACTIONS, "enqueue_us", "numgumbel, plan"), "us"),
        ("gumbel_softmax 1024 x 8192, tau 0.5, cold, of copy", "at least", 0.55, r.share(SHARP, written=True), "share"),
        ("gumbel_softmax 1024 x 8192, tau 1, cold, of copy", "at least", 0.7, r.share(SOFT, written=True), "share"),
    ]


def asked_entries(results):
    """The same for the results file; ``met`` is None where nothing was asked or seen, and of small workloads."""
    tells = not results["quick"]
    return [
        {
            "asked": what,
            "bound": f"{way} {bound}" if bound is not None else None,
            "unit": unit,
            "seen": seen if seen is None or unit == "count" else round(seen, 4),
            "met": None
            if bound is None or seen is None or not tells
            else bool(seen >= bound if way == "at least" else seen <= bound),
        }
        for what, way, bound, seen, unit in asked(results)
    ]


TEXTS = {"share": percent, "us": duration, "ratio": fine_ratio, "count": str}


def asked_row(entry):
    """Texts of one line."""
    bound = entry["bound"]
    if bound is not None:
        way, _, number = bound.rpartition(" ")
        bound = f"{way} {TEXTS[entry['unit']](int(number) if entry['unit'] == 'count' else float(number))}"
    seen = "not timed" if entry["seen"] is None else TEXTS[entry["unit"]](entry["seen"])
    return [entry["asked"], bound or "", seen, {None: "", True: "yes", False: "no"}[entry["met"]]]
