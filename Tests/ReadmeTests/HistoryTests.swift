import Foundation
import Hindsight
import HindsightReplay
import HindsightTesting
import Testing

/// A program that reads the history of a cache, importing what the README says.
@Suite("S040 the history from a program")
struct HistoryTests {
  @Test("a cache's directory is enough, and one that isn't there isn't made")
  func byDirectory() async throws {
    let parent = try TemporaryDirectory()
    let path = parent.cache
    #expect(throws: (any Error).self) { try EventStream(directory: path) }
    #expect(throws: (any Error).self) { try Verifier(directory: path) }
    #expect(!FileManager.default.fileExists(atPath: path))
    try await withCache(at: path, of: Int.self) { cache in
      try await cache.set(1, for: CacheKey("k"), reason: "asked")
      // Beside the cache that is open.
      let isSound = try Verifier(directory: path).run().isSound
      #expect(isSound)
    }
    var events: [String] = []
    let end = try EventStream(directory: path).replay { events.append("\($0.record.event)") }
    #expect(end.tail == .end)
    #expect(events.contains { $0.contains("asked") }, "\(events)")
    struct Enough: Error {}
    events = []
    #expect(throws: Enough.self) {
      _ = try EventStream(directory: path).replay {
        events.append("\($0.record.event)")
        if events.count == 2 { throw Enough() }
      }
    }
    #expect(events.count == 2)
    let verified = try Verifier(directory: path).run()
    #expect(verified.isSound && verified.rows == 1, "\(verified.problems)")
  }

  @Test("what a history and its errors consist of can be named")
  func names() {
    func key(_ record: Record) -> Bytes? {
      if case Event.set(let set) = record.event { set.key } else { nil }
    }
    var (storage, format, state): (StorageError?, FormatError?, StateError?)
    do throws(DamageError) {
      let end = try EventStream(directory: "/nowhere").replay { event in _ = key(event.record) }
      Issue.record("\(end)")
    } catch {
      switch error {
      case .storage(let error): storage = error
      case .format(_, _, let error): format = error
      case .state(_, _, let error): state = error
      case .structure: break
      }
    }
    #expect(storage?.file == "/nowhere" && format == nil && state == nil)
  }

  @Test("an error says what it is, however it is asked")
  func errors() {
    let error = #expect(throws: CacheError.self) { try CacheKey("") }
    #expect(error?.localizedDescription == error?.description)
  }
}
