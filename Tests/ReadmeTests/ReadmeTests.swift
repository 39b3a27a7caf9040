import Foundation
import Hindsight
import HindsightTesting
import Synchronization
import Testing

/// What the example leaves to its reader.
private let asked = Mutex<[String]>([])

func askRegistry(_ name: String) async throws -> Package? {
  asked.withLock { $0.append(name) }
  return name == "no-such-package" ? nil : Package(name: name)
}

@Suite("README")
struct ReadmeTests {
  private static let checkout = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private func read(_ path: String) throws -> String {
    try String(contentsOf: Self.checkout.appendingPathComponent(path), encoding: .utf8)
  }

  @Test(
    "its examples are the code that is compiled here",
    arguments: ["Example", "LongRunning", "TimedTest"])
  func examples(name: String) throws {
    let code = try read("Tests/ReadmeTests/\(name).swift")
    #expect(try read("README.md").contains("```swift\n" + code + "```"))
    if name == "Example" { #expect(code.split(separator: "\n").count <= 15) }
  }

  @Test("its long-running program keeps what it learned")
  func longRunning() async throws {
    let directory = try TemporaryDirectory()
    for _ in 0..<2 {
      let packages = try await Packages(directory: directory.cache)
      #expect(try await packages.package("Django")?.name == "Django")
      try await packages.close()
    }
    #expect(asked.withLock { $0.filter { $0 == "Django" }.count } == 1)
  }

  @Test("its example asks the registry once, also about what doesn't exist")
  func exampleWorks() async throws {
    let cache = try await Cache<Package?>.open(at: nil)
    for _ in 0..<3 {
      #expect(try await lookUp("Flask", in: cache)?.name == "Flask")
      #expect(try await lookUp("no-such-package", in: cache) == nil)
    }
    #expect(asked.withLock { $0.filter { $0 != "Django" } } == ["Flask", "no-such-package"])
    try await cache.close()
  }

  @Test("its configuration table names every field")
  func configuration() throws {
    let table = try read("README.md")
    // `package`: for the simulator, and for `hindsight repair`.
    let internals: Set = [
      "random", "segmentByteCountMin", "backlogByteCountMin", "transactionRowCountMax",
      "originsPerEventMax", "checkpointByteCountMin", "closingCheckpointByteCountMin",
      "comparesRows",
    ]
    for field in Mirror(reflecting: CacheConfiguration()).children.compactMap(\.label)
    where !internals.contains(field) {
      #expect(table.contains("`\(field)`"), "\(field)")
    }
  }

  @Test("its configuration table states the defaults")
  func defaults() throws {
    let it = CacheConfiguration()
    func number(_ value: some BinaryInteger) -> String {
      let digits = String(value)
      return String(
        digits.enumerated().flatMap { at, digit in
          at > 0 && (digits.count - at) % 3 == 0 ? [",", digit] : [digit]
        })
    }
    func seconds(_ duration: Duration?) throws -> String {
      number(try #require(duration).components.seconds) + " s"
    }
    func mebibytes(_ count: some BinaryInteger) -> String { "\(count >> 20) MiB" }
    let (memory, store) = (it.memoryLimit.entryCountMax, it.storeLimit.entryCountMax)
    let queues = it.queues
    let rows = [
      ("memoryLimit", "\(number(memory)) and \(number(store)) entries"),
      ("memoryTTL", "\(try seconds(it.memoryTTL)) and \(try seconds(it.storeTTL))"),
      ("usesStore", it.usesStore && it.usesJournal ? "on, on" : "not both on"),
      ("accessLog", "`.\(it.accessLog)`"), ("acknowledgement", "`.\(it.acknowledgement)`"),
      ("syncInterval", try seconds(it.syncInterval)),
      ("sweepInterval", try seconds(it.sweepInterval)),
      ("segmentByteCount", mebibytes(it.segmentByteCount)), ("corruption", "`.\(it.corruption)`"),
      ("journalFailure", "`.\(it.journalFailure)`"), ("backpressure", "`.\(it.backpressure)`"),
      (
        "queues",
        [queues.unwrittenByteCountMax, queues.unsyncedByteCountMax, queues.pinnedByteCountMax]
          .map(mebibytes).joined(separator: ", ") + ", \(number(queues.pendingRowCountMax)) rows"
      ),
    ]
    #expect(it.retention == Retention(byteCountMax: 1 << 30, ageMax: nil))
    let lines = try read("README.md").split(separator: "\n")
    for (field, text) in rows + [("retention", "1 GiB, any age")] {
      let row = lines.first { $0.hasPrefix("| `\(field)`") }?.split(separator: "|")
      #expect(row?[1].trimmingCharacters(in: .whitespaces) == text, "\(field)")
    }
  }
}
