// Caffeine, with or without a time to live: sets into a small cache, and hits of a full one. All is
// done before it is timed, for the JVM to compile it. Prints peer, metric, value, unit.
// Usage: java CaffeinePeer STREAMS WORK SECONDS caffeine|caffeine-ttl
import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

final class CaffeinePeer {
  private static final int WARM_UPS = 8;

  private record Operation(String key, String value) {}

  /** A stream of lookups: its distinct keys, and the order they are asked for in. */
  private record Lookups(String[] keys, int[] order) {}

  private final Path streams;
  private final String peer;

  private CaffeinePeer(String streams, String peer) {
    this.streams = Path.of(streams);
    this.peer = peer;
  }

  private List<Operation> readStream(String name) throws IOException {
    try (var lines = Files.lines(streams.resolve(name))) {
      return lines.map(line -> line.split("\t", 4)).map(f -> new Operation(f[1], f[3])).toList();
    }
  }

  private Lookups readLookups(String name) throws IOException {
    Map<String, Integer> seen = new HashMap<>();
    List<String> keys = new ArrayList<>();
    int[] order = readStream(name).stream().mapToInt(operation -> seen.computeIfAbsent(
        operation.key(), key -> {
          keys.add(key);
          return keys.size() - 1;
        })).toArray();
    return new Lookups(keys.toArray(String[]::new), order);
  }

  private void row(String metric, double value, String unit) {
    System.out.printf(Locale.ROOT, "%s\t%s\t%.6g\t%s%n", peer, metric, value, unit);
  }

  private static void require(boolean holds, String what) {
    if (holds) return;
    System.err.println(what);
    System.exit(1);
  }

  /** One TTL for all entries, which costs Caffeine less than one for each. */
  private Cache<String, String> cache(int limit) {
    var builder = Caffeine.newBuilder().maximumSize(limit);
    if (peer.endsWith("-ttl")) builder.expireAfterWrite(1, TimeUnit.HOURS);
    return builder.build();
  }

  /** Nanoseconds a set, until what evictions wait for is done. */
  private double set(List<Operation> sets) {
    var cache = cache(1_000);
    long start = System.nanoTime();
    for (var set : sets) cache.put(set.key(), set.value());
    cache.cleanUp();
    long taken = System.nanoTime() - start;
    require(cache.estimatedSize() == 1_000, peer + " holds " + cache.estimatedSize());
    return (double) taken / sets.size();
  }

  /** Nanoseconds a hit for each thread, while so many walk from different places. */
  private double walk(Cache<String, String> cache, Lookups gets, int threads) throws Exception {
    var hits = new AtomicInteger();
    var walkers = new Thread[threads];
    int count = gets.order().length;
    for (int i = 0; i < threads; i++) {
      int from = count / threads * i;
      walkers[i] = new Thread(() -> {
        int found = 0;
        for (int step = 0, at = from; step < count; step++) {
          if (cache.getIfPresent(gets.keys()[gets.order()[at]]) != null) found++;
          if (++at == count) at = 0;
        }
        hits.addAndGet(found);
      });
    }
    long start = System.nanoTime();
    for (var walker : walkers) walker.start();
    for (var walker : walkers) walker.join();
    long taken = System.nanoTime() - start;
    require(hits.get() == threads * count, "too few hits");
    return (double) taken / count;
  }

  private void run() throws Exception {
    var sets = readStream("sets.tsv");
    for (int i = 0; i < WARM_UPS; i++) set(sets);
    row("mem_set_cap1000", set(sets), "ns/op");
    var fill = readStream("fill.tsv");
    for (int limit : new int[] {1_000, 100_000}) {
      String label = limit / 1_000 + "k";
      var gets = readLookups("hits" + label + ".tsv");
      var cache = cache(limit);
      for (var operation : fill.subList(0, limit)) cache.put(operation.key(), operation.value());
      cache.cleanUp();
      for (int threads = 1; threads <= 2; threads++) {
        for (int i = 0; i < WARM_UPS; i++) walk(cache, gets, threads);
        String unit = threads == 1 ? "ns/op" : "ns/op/thread";
        row("mem_get_hit_" + label + "_" + threads + "t", walk(cache, gets, threads), unit);
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    require(arguments.length == 4, "usage: STREAMS WORK SECONDS caffeine|caffeine-ttl");
    new CaffeinePeer(arguments[0], arguments[3]).run();
  }
}
