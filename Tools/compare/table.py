"""Prints the comparison's table from its rows, and draws its plot.
Usage: table.py ROWS.tsv PLOT.svg"""
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "plots"))
import svg  # noqa: E402

METRICS = [
    ("mem_get_hit_1k_1t", "memory hit, 1,000 entries, 1 thread"),
    ("mem_get_hit_1k_2t", "… 2 threads, as each sees it"),
    ("mem_get_hit_100k_1t", "memory hit, 100,000 entries, 1 thread"),
    ("mem_get_hit_100k_2t", "… 2 threads, as each sees it"),
    ("mem_set_cap1000", "set into 1,000 entries of memory alone"),
    ("set_buffered_1w", "set, the system has it, 1 caller"),
    ("set_buffered_1w_pipeline64", "… 64 at a time"),
    ("set_fsync_1w", "set, on the disk, 1 caller"),
    ("set_fsync_16w", "… 16 callers"),
    ("set_fsync_64w", "… 64 callers"),
    ("set_fsync_1w_pipeline64", "… 1 caller, 64 at a time"),
    ("fill_100k_one_txn", "100,000 rows into SQLite, one transaction (Hindsight: through its journal, a few)"),
    ("set_wal_normal_batch1000", "… 1,000 rows a transaction"),
    ("disk_log", "journal, bytes a set"),
    ("recover_200k", "reopening 200,000 sets"),
    ("recover_200k_rate", "… replaying every set"),
    ("persistent_get_1t", "lookup that the store answers, page cache warm"),
    ("persistent_get_64w", "… 64 callers, all together"),
]
# What stands in for a metric where a peer can't do without something more.
BESIDES = {
    "recover_200k": ("recover_200k_with_flush", "writes a table besides"),
    "recover_200k_rate": ("recover_200k_with_flush_rate", "writes a table besides"),
}
# The memory tier alone is what a memory cache does.
ALONE = {"mem_set_cap1000": "hindsight-memory"}


def peers(medians, metric):
    """The peers that have a metric, each with its median and how it is called."""
    found = {peer: (value, peer) for (other, peer), value in medians.items() if other == metric}
    more, besides = BESIDES.get(metric, (None, None))
    for (other, peer), value in medians.items():
        if other == more and peer not in found:
            found[peer] = (value, f"{peer} ({besides})")
    return [named for peer, named in found.items() if not peer.startswith("hindsight")]


def main(path, plot):
    values, units = {}, {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            peer, metric, value, unit = line.rstrip("\n").split("\t")
            values.setdefault((metric, peer), []).append(float(value))
            units[metric] = unit
    medians = {key: statistics.median(found) for key, found in values.items()}
    print("| what | unit | Hindsight | others, with Hindsight's advantage as a factor |")
    print("|---|---|--:|---|")
    ratios = []
    for metric, what in METRICS:
        mine = medians.get((metric, ALONE.get(metric, "hindsight")))
        if mine is None:
            continue
        more_is_better = units[metric].endswith("/s")
        others = sorted((mine / value if more_is_better else value / mine, name, value)
                        for value, name in peers(medians, metric))
        text = ", ".join(f"{name} {svg.number(value)} (×{ratio:.2g})" for ratio, name, value in others)
        print(f"| {what} | {units[metric]} | {svg.number(mine)} | {text} |")
        if others:
            ratios.append((f"{metric}: {others[0][1]}", others[0][0]))
    canvas = svg.Canvas(900, 60 + 20 * len(ratios))
    svg.factors(canvas, 390, 40, 440, "Hindsight beside the best other: factor, logarithmic (line: the same)",
                ratios)
    canvas.save(plot)


main(*sys.argv[1:])
