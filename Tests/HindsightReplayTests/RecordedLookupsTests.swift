import Foundation
import Hindsight
import HindsightTesting
import Testing

@Suite("Recorded lookups")
struct RecordedLookupsTests {
  @Test("an error names its line, also that of a key")
  func lines() {
    let text = "=\tpypi\tflask\t{}\n0\tpypi\tflask\n1\tpy:pi\tflask\n"
    let error = #expect(throws: CacheError.self) {
      try RecordedLookups(parsing: Array(text.utf8), path: "stream")
    }
    #expect(error?.code == .invalidKey)
    #expect(error?.message.hasPrefix("stream:3: ") == true)
  }

  @Test("a time whose sums don't fit is refused")
  func time() {
    let text = "=\tpypi\tflask\t{}\n9223372036854775807\tpypi\tflask\n"
    let error = #expect(throws: CacheError.self) {
      try RecordedLookups(parsing: Array(text.utf8), path: "stream")
    }
    #expect(error?.code == .invalidValue)
    #expect(error?.message.hasPrefix("stream:2: ") == true)
  }

  @Test("a file that ends in the middle of its compressed stream is refused")
  func truncated() throws {
    let whole = try Data(
      contentsOf: checkout.appendingPathComponent("Fixtures/lookups/lookups.tsv.gz"))
    let directory = try TemporaryDirectory()
    let path = directory.path + "/lookups.gz"
    for count in [whole.count / 2, whole.count - 4] {
      try whole.prefix(count).write(to: URL(fileURLWithPath: path))
      let error = #expect(throws: CacheError.self) { try RecordedLookups(path: path) }
      #expect(error?.code == .system, "\(count) bytes: \(String(describing: error))")
    }
  }

  @Test("a file that inflates to more than it may is refused")
  func size() throws {
    let path = checkout.appendingPathComponent("Fixtures/lookups/lookups.tsv.gz").path
    let error = #expect(throws: CacheError.self) {
      try RecordedLookups(path: path, byteCountMax: 2 << 20)
    }
    #expect(error?.code == .system)
    #expect(try !RecordedLookups(path: path).lookups.isEmpty)
  }
}
