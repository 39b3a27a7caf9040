"""Writes Scaling.md and its plot from the rows of `hindsight bench --scaling` and `--pauses`.
Usage: scaling.py SCALING.tsv PAUSES.tsv PAUSE_ENTRIES LOAD DOCC_DIRECTORY MOST_ENTRIES SECONDS
The last two are what Tools/scaling.sh was given."""
import os
import platform
import sys

import svg

DIMENSIONS = {
    "entries": ("Entries", "entries", [
        ("memory", "index"), ("hit", "memory hit"), ("set", "set, `.enqueued`"),
        ("longest_set", "longest set"), ("checkpoint", "checkpoint"),
        ("checkpoint_pause", "longest hit beside it"),
        ("checkpoint_pause_while_running", "… while running"),
        ("checkpoint_pause_p99.9", "… p99.9"), ("recovery", "open, killed"),
        ("open_clean", "open, closed")]),
    "value": ("Size of values", "bytes", [
        ("hit", "memory hit"), ("store_hit", "store hit"), ("set_written", "set, `.written`"),
        ("journal", "journal")]),
    "callers": ("Callers", "callers", [
        ("set_written", "sets, `.written`"), ("set_durable", "sets, `.durable`")]),
    "events": ("Length of the journal", "sets of 1,000 keys", [
        ("journal", "journal"), ("replayed", "events replayed"), ("recovery", "open, killed"),
        ("verify", "verify")]),
}
# In the table only.
NOT_PLOTTED = ("checkpoint_pause_while_running", "checkpoint_pause_p99.9")


def read(path):
    """Metric → (value, unit)."""
    rows = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            _, metric, value, unit = line.rstrip("\n").split("\t")
            rows[metric] = (float(value), unit)
    return rows


def table(rows, dimension):
    title, x_name, costs = DIMENSIONS[dimension]
    xs = sorted({int(m.split(":")[0].split("=")[1]) for m in rows if m.startswith(dimension + "=")})
    units = {c: next((rows[f"{dimension}={x}:{c}"][1] for x in xs
                      if f"{dimension}={x}:{c}" in rows), "") for c, _ in costs}
    out = [f"## {title}", "",
           "| " + x_name + " | " + " | ".join(f"{n} ({units[c]})" for c, n in costs) + " |",
           "|" + "--:|" * (len(costs) + 1)]
    for x in xs:
        cells = [rows.get(f"{dimension}={x}:{c}") for c, _ in costs]
        out.append(f"| {x:,} | " + " | ".join(svg.number(c[0]) if c else "" for c in cells) + " |")
    return out + [""]


def pauses(rows, entries):
    columns = ["count", "p50", "p99", "p99.9", "max", "max_while_running", "stolen"]
    out = ["## Pauses of the memory tier", "",
           f"{int(entries):,} entries in memory, values of 100 bytes. *Quiet*: nothing else is asked of it. "
           "*Steady*: one task makes 10,000 sets a second; *busy*: as many as it can, without a break. Both times "
           "segments of 4 MiB are filled, checkpoints written, old segments dropped, expired entries swept and rows "
           "projected into SQLite, all on the same cores as the thread that measures. *Clock alone* is that thread without a cache: "
           "what the machine does to any thread. *Max while running* is the longest without those "
           "during which the scheduler took the processor from their thread, or the host one from this "
           "virtual machine within a tenth of a second; waits for another thread that the scheduler "
           "stopped with the lock held are in it. Of sets, whose task changes threads, it may miss some. "
           "*Stolen* is what the host took of all processors together meanwhile, in ms, all else in µs.", "",
           "| | operations | " + " | ".join(c.replace("_", " ") for c in columns[1:]) + " |",
           "|---" + "|--:" * len(columns) + "|"]
    names = (("clock_quiet", "clock alone, quiet"), ("hit_quiet", "hit, quiet"),
             *((f"{cost}_{load}", f"{name}, {load}") for load in ("steady", "busy") for cost, name in (
                 ("clock", "clock alone"), ("hit", "hit"), ("set", "set, `.enqueued`"))))
    for key, name in names:
        cells = [rows.get(f"{key}_{c}") for c in columns]
        cells = [svg.number(c[0]) if c else "" for c in cells]
        out.append(f"| {name} | " + " | ".join(cells) + " |")
    happened = {load: ", ".join(f"{rows[load + '_' + key][0]:,.0f} {text}" for key, text in (
        ("segments", "segments filled"), ("segments_dropped", "dropped"),
        ("checkpoints", "checkpoints"), ("swept", "entries swept"),
        ("events_applied_to_store", "events applied to the store"))) for load in ("steady", "busy")}
    return out + ["", f"Meanwhile, steady: {happened['steady']}. Busy: {happened['busy']}. A set waits where its "
                  "queue is full: the cache lets in no more than journal and store can take.", ""]


def plot(rows, path):
    canvas = svg.Canvas(1000, 640)
    for at, (dimension, (title, x_name, costs)) in enumerate(DIMENSIONS.items()):
        series = []
        for cost, name in (c for c in costs if c[0] not in NOT_PLOTTED):
            points = sorted(
                (int(m.split(":")[0].split("=")[1]), v[0]) for m, v in rows.items()
                if m.startswith(dimension + "=") and m.endswith(":" + cost))
            unit = next((v[1] for m, v in rows.items()
                         if m.startswith(dimension + "=") and m.endswith(":" + cost)), "")
            if points:
                series.append((f"{name.replace('`', '')} ({unit})", points))
        if series:
            svg.lines(canvas, 55 + 500 * (at % 2), 40 + 320 * (at // 2), 250, 240,
                      f"{title} ({x_name})", series)
    canvas.save(path)


def main(scaling_path, pauses_path, pause_entries, load, docc, most_entries, seconds):
    rows, pause_rows = read(scaling_path), read(pauses_path)
    os.makedirs(os.path.join(docc, "Resources"), exist_ok=True)
    plot(rows, os.path.join(docc, "Resources", "scaling.svg"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    out = ["# How costs grow", "",
           f"Written by `Tools/scaling.sh {most_entries} {seconds}`; every figure is from one run "
           "of it.", "",
           *([f"**A draft: other programs kept the machine busy (load {load}), so that times are "
              "several times what they are alone.**", ""] if float(load) > 1.5 else []),
           f"Conditions: {os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, Linux "
           f"{platform.release()}; load before the run {load}. A tenth of the entries (at least "
           "1,000) are in memory, all of them in the store; values of 100 bytes unless their size "
           "is what varies, and 400 for callers; keys of 21. *Index* is the heap after a recovery, "
           "without keys and values, divided by the entries. *Memory hit* is `memoryValue(for:)` by one "
           "thread; where the size of values varies, of as many as fit in 64 MiB, 2,000 at most. *Longest "
           "set* includes waiting for room, until a checkpoint has been written. *Longest hit beside it*: "
           "one thread asks for what is in memory while another checkpoint is captured and written, and "
           "nobody sets; *while running* is without hits during which the scheduler took the processor "
           "from it, or the host one from this virtual machine. *Open, killed* is the opening after SIGKILL, "
           "once everything was in the store.", "",
           "![Costs by entries, size of values, callers and length of the journal](scaling.svg)", ""]
    for dimension in DIMENSIONS:
        out += table(rows, dimension)
    out += pauses(pause_rows, pause_entries)
    with open(os.path.join(docc, "Scaling.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
