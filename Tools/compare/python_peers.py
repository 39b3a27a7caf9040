"""The comparison's Python caches: diskcache (SQLite and files) and cachetools (memory, with a lock).
Usage: python_peers.py STREAMS WORK SECONDS diskcache|cachetools"""
import os
import shutil
import sys
import threading
import time

streams, work, budget, peer = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]


def row(peer, metric, value, unit):
    print(f"{peer}\t{metric}\t{value:.6g}\t{unit}", flush=True)


def read(name, most=None):
    operations = []
    with open(os.path.join(streams, name), encoding="utf-8") as file:
        for line in file:
            _, key, ttl, value = line.rstrip("\n").split("\t")
            operations.append((key, int(ttl), value))
            if len(operations) == most:
                break
    return operations


def disk(sets, gets):
    import diskcache
    path = os.path.join(work, "diskcache")
    shutil.rmtree(path, ignore_errors=True)
    with diskcache.Cache(path) as cache:
        start, done = time.perf_counter(), 0
        for key, ttl, value in sets:
            cache.set(key, value, expire=ttl)
            done += 1
            if time.perf_counter() - start >= budget:
                break
        row("diskcache", "set_buffered_1w", done / (time.perf_counter() - start), "sets/s")
        known = {key for key, _, _ in sets[:done]}
        wanted = [key for key, _, _ in gets if key in known]
        start, done = time.perf_counter(), 0
        for key in wanted:
            if cache.get(key) is None:
                sys.exit("diskcache: a key is missing")
            done += 1
            if time.perf_counter() - start >= budget:
                break
        row("diskcache", "persistent_get_1t", (time.perf_counter() - start) * 1e6 / done, "us/op")


def memory(sets, fill, hits):
    import cachetools
    lock = threading.Lock()
    cache = cachetools.TTLCache(1000, 3600)
    start = time.perf_counter()
    for key, _, value in sets:
        with lock:
            cache[key] = value
    row("cachetools", "mem_set_cap1000", (time.perf_counter() - start) * 1e9 / len(sets), "ns/op")
    cache = cachetools.TTLCache(1000, 3600)
    for key, _, value in fill:
        cache[key] = value
    start = time.perf_counter()
    for key in hits:
        with lock:
            value = cache.get(key)
        if value is None:
            sys.exit("cachetools: a key is missing")
    row("cachetools", "mem_get_hit_1k_1t", (time.perf_counter() - start) * 1e9 / len(hits), "ns/op")


sets = read("sets.tsv")
if peer == "diskcache":
    disk(sets, read("gets.tsv", 200_000))
else:
    memory(sets, read("fill.tsv", 1_000), [key for key, _, _ in read("hits1k.tsv")])
