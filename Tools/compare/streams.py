"""Writes the streams that all programs of the comparison work through: op, key, TTL, JSON value.
Names and texts are made up of syllables; sizes, repetition and skew are those of registry lookups.
The same seed gives the same bytes. Usage: streams.py DIRECTORY"""
import bisect
import itertools
import json
import os
import random
import sys

NAMES, UNIVERSE, SETS, GETS = 100_000, 50_000, 200_000, 500_000


class Zipf:
    """Ranks whose frequency falls with rank ** -0.99."""

    def __init__(self, count, generator):
        self.sums = list(itertools.accumulate((rank + 1) ** -0.99 for rank in range(count)))
        self.generator = generator

    def rank(self):
        return bisect.bisect(self.sums, self.generator.random() * self.sums[-1])


def vocabulary(generator, count):
    syllables = [a + b for a in "bcdfghklmnprstvz" for b in "aeiou"]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 4))) for _ in range(count)]
    return words


def metadata(name, words, generator):
    """A package's metadata: about one in twelve packages doesn't exist."""
    if generator.random() < 0.08:
        return {"name": name, "exists": False}
    return {
        "name": name, "exists": True, "downloads": int(10 ** generator.uniform(1, 7)),
        "repository": f"https://github.com/{generator.choice(words)}/{name}",
        "created": f"20{generator.randint(10, 25)}-{generator.randint(1, 12):02}-01T00:00:00Z",
        "releases": generator.randint(1, 200),
        "version": f"{generator.randint(0, 9)}.{generator.randint(0, 20)}.{generator.randint(0, 9)}",
        "summary": " ".join(generator.choices(words, k=generator.randint(10, 50)))[:330],
    }


def main(directory):
    generator = random.Random(414)
    words = vocabulary(generator, 3_000)
    names = [f"{generator.choice(words)}-{generator.choice(words)}-{n}" for n in range(NAMES)]
    packages = [metadata(name, words, generator) for name in names]

    def write(name, lines):
        path = os.path.join(directory, name)
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.writelines(lines)
        os.replace(path + ".part", path)

    def setting(rank):
        package = packages[rank]
        if package["exists"]:
            package["downloads"] += generator.randint(0, 1 + package["downloads"] // 50)
        ttl = 86_400 if package["exists"] else 3_600
        value = json.dumps(package, separators=(",", ":"))
        return f"set\tpypi:{names[rank]}\t{ttl}\t{value}\n"

    def getting(count, gets):
        zipf = Zipf(count, generator)
        return (f"get\tpypi:{names[zipf.rank()]}\t0\t\n" for _ in range(gets))

    os.makedirs(directory, exist_ok=True)
    zipf = Zipf(UNIVERSE, generator)
    write("fill.tsv", (setting(rank) for rank in range(NAMES)))
    write("sets.tsv", (setting(zipf.rank()) for _ in range(SETS)))
    write("gets.tsv", getting(UNIVERSE, GETS))
    write("hits1k.tsv", getting(1_000, GETS))
    write("hits100k.tsv", getting(NAMES, GETS))


if __name__ == "__main__":
    main(sys.argv[1])
