import Hindsight
import HindsightTesting
import Testing

/// The origin system's tests, by its ids, over both tiers and the journal.
@Suite("S040 conformance")
struct ConformanceTests {
  let clock = ManualClock()

  @Test("T040.01 a hit returns the value, T040.02 a miss returns none, T040.03 set then get")
  func hitAndMiss() async throws {
    let directory = try TemporaryDirectory()
    try await withCache(at: directory.cache, of: Package?.self) { cache in
      #expect(try await cache.get(try pypi("flask")) == nil)
      try await cache.set(Package(name: "flask"), for: try pypi("flask"))
      #expect(try await cache.get(try pypi("flask")) == Package(name: "flask"))
      #expect(try await cache.get(try pypi("django")) == nil)
    }
  }

  @Test("T040.04 a TTL that has passed is a miss, and TTL 0 is one at once")
  func expiry() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      let key = try pypi("flask")
      try await cache.set(
        Package(name: "flask"), for: key, memoryTTL: .seconds(60), storeTTL: .seconds(60))
      clock.advance(by: .seconds(60))
      #expect(reason(try await cache.lookup(key)) == .expired)
      try await cache.set(
        Package(name: "flask"), for: key, memoryTTL: .zero, storeTTL: .zero)
      #expect(try await cache.get(key) == nil)
      #expect(cache.count == TierCounts(memory: 0, store: 0))
    }
  }

  @Test("T040.05 a TTL that has not passed is a hit, to the last microsecond")
  func notExpired() async throws {
    let cache = try await PackageCache.open(at: nil, configuration: configuration(clock: clock))
    let key = try pypi("flask")
    try await cache.set(Package(name: "flask"), for: key, memoryTTL: .seconds(60))
    clock.advance(by: .microseconds(59_999_999))
    #expect(try await cache.get(key) != nil)
    clock.advance(by: .microseconds(1))
    #expect(try await cache.get(key) == nil)
    try await cache.close()
  }

  @Test("T040.06 the default TTLs are an hour in memory and a day in the store")
  func defaults() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock)
    #expect(CacheConfiguration().memoryLimit.entryCountMax == 1_000)
    #expect(CacheConfiguration().storeLimit.entryCountMax == 100_000)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      let key = try pypi("flask")
      try await cache.set(Package(name: "flask"), for: key)
      clock.advance(by: .seconds(3_599))
      #expect(answer(try await cache.lookup(key))?.tier == .memory)
      clock.advance(by: .seconds(1))
      #expect(answer(try await cache.lookup(key))?.tier == .store)
      clock.advance(by: .seconds(86_400 - 3_600))
      #expect(try await cache.get(key) == nil)
    }
  }

  @Test("T040.07 the least recently used entry is evicted")
  func leastRecentlyUsed() async throws {
    let configuration = configuration(clock: clock, memory: 3)
    let cache = try await PackageCache.open(at: nil, configuration: configuration)
    for name in ["1", "2", "3"] { try await cache.set(Package(name: name), for: try pypi(name)) }
    #expect(try await cache.get(try pypi("1")) != nil)
    try await cache.set(Package(name: "4"), for: try pypi("4"))
    #expect(reason(try await cache.lookup(try pypi("2"))) == .evicted)
    for name in ["1", "3", "4"] { #expect(try await cache.get(try pypi(name)) != nil) }
    try await cache.close()
  }

  @Test("T040.08 ten sets into five leave five")
  func limit() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock, memory: 5, store: 7)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      for number in 0..<10 {
        try await cache.set(Package(name: "\(number)"), for: try pypi("\(number)"))
        #expect(cache.count.memory <= 5 && cache.count.store <= 7)  // INV017
      }
      #expect(cache.count == TierCounts(memory: 5, store: 7))
    }
  }

  @Test("T040.09 the same package in two registries is two entries")
  func registries() async throws {
    let cache = try await PackageCache.open(at: nil, configuration: configuration(clock: clock))
    let (one, other) = (try pypi("flask"), try CacheKey(registry: "npm", package: "flask"))
    try await cache.set(Package(name: "python"), for: one)
    try await cache.set(Package(name: "javascript"), for: other)
    #expect(try await cache.get(one) == Package(name: "python"))
    #expect(try await cache.get(other) == Package(name: "javascript"))
    #expect(cache.count.memory == 2)
    try await cache.close()
  }

  @Test("T040.10 registry and package are normalized into one key")
  func normalization() throws {
    #expect(try CacheKey(registry: "PyPI", package: "My_Package").rawValue == "pypi:my-package")
    let rules = KeyRules.registryRules
    let pypi = try CacheKey(registry: "pypi", package: "Zope.Interface__x", rules: rules)
    #expect(pypi.rawValue == "pypi:zope-interface-x")
    #expect(try CacheKey(registry: "npm", package: "a_b", rules: rules).rawValue == "npm:a_b")
    #expect(try CacheKey(registry: "crates", package: "a_b").rawValue == "crates:a-b")
    #expect(throws: CacheError.self) { try CacheKey("") }
    #expect(throws: CacheError.self) { try CacheKey(String(repeating: "k", count: 1_025)) }
    #expect(throws: CacheError.self) { try CacheKey(registry: "", package: "x") }
    for nothing in ["-", "_", "...", "-_."] {
      #expect(throws: CacheError.self, "\(nothing)") {
        try CacheKey(registry: "pypi", package: nothing, rules: rules)
      }
    }
    #expect(try CacheKey(String(repeating: "k", count: 1_024)).rawValue.count == 1_024)
    #expect(try CacheKey("\u{E9}") != CacheKey("e\u{301}"), "keys compare as bytes")
  }

  @Test("T040.10 names are folded by scalars, as Python's replace and PEP 503 do")
  func foldedKeys() throws {
    let ascii = String(decoding: (0..<0x80).map { UInt8($0) }, as: UTF8.self)
    let packages = [
      ascii, ascii + "É", "_\u{308}A_", "._a-_-B..", "---", "\u{130}_x",
      String(repeating: "Lang._", count: 40),
    ]
    for package in packages {
      let lowercase = package.lowercased().unicodeScalars
      let standard = lowercase.map { $0 == "_" ? "-" : String($0) }.joined()
      #expect(
        try CacheKey(registry: "NPM_x", package: package) == CacheKey("npm-x:\(standard)"))
      let parts = lowercase.split { "-_.".unicodeScalars.contains($0) }
      let runs = parts.map { String(String.UnicodeScalarView($0)) }.joined(separator: "-")
      if !runs.isEmpty {
        let pypi = try CacheKey(registry: "PyPI", package: package, rules: .registryRules)
        #expect(try pypi == CacheKey("pypi:\(runs)"))
      }
      let npm = try CacheKey(registry: "npm", package: package, rules: .registryRules)
      #expect(try npm == CacheKey("npm:\(package.lowercased())"))
    }
  }

  @Test("T040.10 a key that can't be made says why")
  func keyRefusals() throws {
    for (registry, package, says) in [
      ("", "x", "neither of them empty"), ("x", "", "neither of them empty"),
      ("a:b", "x", "'a:b' holds a colon"),
      ("x", String(repeating: "k", count: 1_023), "this one has 1025"),
    ] {
      let error = #expect(throws: CacheError.self) {
        try CacheKey(registry: registry, package: package)
      }
      #expect(error?.code == .invalidKey)
      #expect(error?.message.contains(says) == true, "\(error?.message ?? "")")
    }
    // Only what folding leaves counts.
    let long = "x" + String(repeating: ".", count: 2_000)
    #expect(
      try CacheKey(registry: "pypi", package: long, rules: .registryRules).rawValue == "pypi:x")
  }

  @Test("T040.11 a memory hit makes no query, and contains removes what is past its expiry")
  func memoryFirst() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      let key = try pypi("flask")
      try await cache.set(Package(name: "flask"), for: key, storeTTL: .seconds(7_200))
      try await cache.settle()
      let before = cache.statistics.storeQueries
      for _ in 0..<100 { #expect(try await cache.get(key) != nil) }
      #expect(try await cache.get(try pypi("absent")) == nil, "a miss asks nobody either")
      #expect(cache.statistics.storeQueries == before)
      clock.advance(by: .seconds(7_200))
      #expect(!cache.contains(key))
      #expect(cache.statistics.entries == TierCounts(memory: 0, store: 0))
    }
  }

  @Test("T040.11 memory-only mode works")
  func memoryOnly() async throws {
    let cache = try await PackageCache.open(at: nil, configuration: configuration(clock: clock))
    try await cache.set(Package(name: "flask"), for: try pypi("flask"))
    #expect(cache.memoryValue(for: try pypi("flask")) == Package(name: "flask"))
    #expect(cache.contains(try pypi("flask")))
    try await cache.settle()
    try await cache.close()
  }

  @Test("T040.12 a store hit is promoted, but never beyond the store's own expiry")
  func promotion() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock, memory: 1)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      let key = try pypi("flask")
      try await cache.set(Package(name: "flask"), for: key, storeTTL: .seconds(100))
      try await cache.set(Package(name: "other"), for: try pypi("other"))
      try await cache.settle()
      #expect(answer(try await cache.lookup(key))?.tier == .store)
      #expect(answer(try await cache.lookup(key))?.tier == .memory)
      #expect(cache.statistics.promotions == 1)
      clock.advance(by: .seconds(100))  // INV016: the origin system served it for an hour more
      #expect(try await cache.get(key) == nil)
    }
  }

  @Test(
    "INV016 a TTL that is given for the store alone holds in memory, too", arguments: [true, false])
  func storeTTLAlone(usesStore: Bool) async throws {
    var configuration = configuration(clock: clock)
    configuration.usesStore = usesStore
    let directory = try TemporaryDirectory()
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      let key = try pypi("no-such-package")
      try await cache.set(nil, for: key, storeTTL: .seconds(60))
      #expect(answer(try await cache.lookup(key))?.tier == .memory)
      clock.advance(by: .seconds(60))
      #expect(cache.memoryValue(for: key) == nil)
      #expect(answer(try await cache.lookup(key)) == nil)
      // Longer than the cache's own for memory it is not; and memory outlives the store where one says so.
      try await cache.set(nil, for: key, storeTTL: .seconds(7_200))
      clock.advance(by: .seconds(3_600))
      #expect(cache.memoryValue(for: key) == nil)
      try await cache.set(nil, for: key, memoryTTL: .seconds(120), storeTTL: .seconds(60))
      clock.advance(by: .seconds(60))
      #expect(answer(try await cache.lookup(key))?.tier == .memory)
    }
  }

  @Test("T040.16 the store's TTL is honoured after the memory tier's")
  func storeTTL() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      let key = try pypi("flask")
      try await cache.set(
        Package(name: "flask"), for: key, memoryTTL: .seconds(10), storeTTL: .seconds(20))
      try await cache.settle()
      clock.advance(by: .seconds(20))
      #expect(try await cache.get(key) == nil)
    }
  }

  @Test("T040.17 the first open creates the schema and finds nothing")
  func firstOpen() async throws {
    let directory = try TemporaryDirectory()
    try await withCache(at: directory.cache, of: Package?.self) { cache in
      #expect(cache.count == TierCounts(memory: 0, store: 0))
    }
  }

  @Test("T040.18 the store's count, T040.19 which is 0 when it is off")
  func storeCount() async throws {
    let directory = try TemporaryDirectory()
    for (usesStore, expected) in [(true, 2), (false, 0)] {
      var configuration = configuration(clock: clock)
      configuration.usesStore = usesStore
      let path = directory.path + "/\(usesStore)"
      try await withCache(at: path, of: Package?.self, configuration: configuration) { cache in
        for name in ["a", "b"] {
          try await cache.set(Package(name: name), for: try pypi(name))
        }
        #expect(cache.count == TierCounts(memory: 2, store: expected))
      }
    }
  }

  @Test("T040.20 cleanup removes what is past its expiry, T040.21 and nothing else")
  func cleanup() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      for (name, seconds) in [("a", 10), ("b", 20), ("c", 30)] {
        try await cache.set(
          Package(name: name), for: try pypi(name), memoryTTL: .seconds(seconds),
          storeTTL: .seconds(seconds))
      }
      #expect(try await cache.cleanupExpired() == 0)
      clock.advance(by: .seconds(20))
      #expect(try await cache.cleanupExpired() == 2)
      #expect(cache.statistics.entries == TierCounts(memory: 1, store: 1))
      #expect(cache.statistics.expiries == TierCounts(memory: 2, store: 2))
    }
  }

  @Test("T040.22 a cache without a store lives and ends, T040.28 although a path is given")
  func withoutStore() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock) { $0.usesStore = false }
    for round in 0..<2 {
      try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
        cache in
        let expected: Package?? = round == 0 ? .none : .some(Package(name: "x"))
        #expect(try await cache.get(try pypi("flask")) == expected)
        try await cache.set(Package(name: "x"), for: try pypi("flask"))
        try await cache.settle()
      }
    }
  }

  @Test("T040.23 invalidating what is absent says false, T040.24 also without a store")
  func invalidate() async throws {
    let directory = try TemporaryDirectory()
    for usesStore in [true, false] {
      let configuration = configuration(clock: clock) { $0.usesStore = usesStore }
      let path = directory.path + "/\(usesStore)"
      try await withCache(at: path, of: Package?.self, configuration: configuration) { cache in
        let key = try pypi("flask")
        #expect(try await !cache.invalidate(key))
        try await cache.set(Package(name: "flask"), for: key)
        #expect(try await cache.invalidate(key, reason: "typosquat"))
        #expect(reason(try await cache.lookup(key)) == .invalidated)
        #expect(try await !cache.invalidate(key))
      }
    }
  }

  @Test("T040.25 clear counts both tiers, T040.29 and leaves nothing in either")
  func clear() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock, memory: 2)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      for name in ["a", "b", "c"] { try await cache.set(Package(name: name), for: try pypi(name)) }
      try await cache.settle()
      #expect(try await cache.clear() == TierCounts(memory: 2, store: 3))
      for name in ["a", "b", "c"] { #expect(try await cache.get(try pypi(name)) == nil) }
      #expect(try await cache.clear() == TierCounts(memory: 0, store: 0))
    }
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      #expect(cache.count == TierCounts(memory: 0, store: 0), "the origin left the store's entries")
    }
  }

  @Test("T040.26 a miss in both tiers says why, and asks SQLite nothing")
  func missInBoth() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock, memory: 1, store: 2)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      for name in ["evicted", "invalidated", "kept"] {
        try await cache.set(Package(name: name), for: try pypi(name))
        if name == "invalidated" { #expect(try await cache.invalidate(try pypi(name))) }
      }
      try await cache.set(Package(name: "new"), for: try pypi("new"))
      try await cache.settle()
      let queries = cache.statistics.storeQueries
      #expect(reason(try await cache.lookup(try pypi("evicted"))) == .evicted)
      #expect(reason(try await cache.lookup(try pypi("invalidated"))) == .invalidated)
      #expect(reason(try await cache.lookup(try pypi("never"))) == .unknown)
      #expect(cache.statistics.misses == 3 && cache.statistics.storeQueries == queries)
      #expect(cache.statistics.hits == TierCounts(memory: 0, store: 0))
    }
  }

  @Test("T040.27 each tier has its own TTL")
  func ownTTL() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      let key = try pypi("flask")
      try await cache.set(
        Package(name: "flask"), for: key, memoryTTL: .seconds(20), storeTTL: .seconds(10))
      clock.advance(by: .seconds(15))
      #expect(answer(try await cache.lookup(key))?.tier == .memory, "memory may outlive store")
      clock.advance(by: .seconds(5))
      #expect(try await cache.get(key) == nil)
    }
  }

  @Test("T040.30 a second set replaces, and the count stays 1")
  func replace() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      let key = try pypi("flask")
      try await cache.set(Package(name: "old"), for: key)
      try await cache.set(Package(name: "new"), for: key)
      #expect(cache.count == TierCounts(memory: 1, store: 1))
      #expect(try await cache.get(key) == Package(name: "new"))
    }
  }

  @Test("T010.22 one registry is cleared, the others stay; T010.23 statistics per registry")
  func perRegistry() async throws {
    let directory = try TemporaryDirectory()
    let configuration = configuration(clock: clock)
    try await withCache(at: directory.cache, of: Package?.self, configuration: configuration) {
      cache in
      try await cache.set(Package(name: "a"), for: try pypi("a"))
      try await cache.set(Package(name: "b"), for: try pypi("b"))
      try await cache.set(Package(name: "a"), for: try CacheKey(registry: "npm", package: "a"))
      try await cache.set(Package(name: "a"), for: try CacheKey("plain"))
      let before = cache.registryStatistics()
      #expect(before.mapValues(\.entries) == ["pypi": 2, "npm": 1, "": 1])
      #expect(before.values.allSatisfy { $0.bytes > $0.entries * 20 })
      #expect(try await cache.clear(registry: "PyPI") == TierCounts(memory: 2, store: 2))
      #expect(cache.registryStatistics().mapValues(\.entries) == ["npm": 1, "": 1])
    }
  }

  @Test("S040 a value that says «does not exist» can be cached")
  func absentValue() async throws {
    let directory = try TemporaryDirectory()
    for round in 0..<2 {
      try await withCache(at: directory.cache, of: Package?.self) { cache in
        let key = try pypi("no-such-package")
        if round == 0 { try await cache.set(nil, for: key) }
        let lookup = try await cache.lookup(key)
        guard case .hit(let hit) = lookup else { return #expect(Bool(false), "a miss") }
        #expect(hit.value == nil)
      }
    }
  }
}
