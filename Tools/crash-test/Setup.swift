import Hindsight
import HindsightTesting

/// How a session's cache is opened: drawn from the seed.
struct Setup {
  var level = Acknowledgement.written
  var writers = 1
  var memoryEntries = 10
  var storeEntries = 100
  var usesStore = true
  var access = "recency"
  var segmentBytes = 64 << 10
  var retentionBytes: Int?
  var syncInterval = 0.05
  var continuesInMemory = false

  static let keyCount = 48

  /// Whether live entries may have to make room, so that a miss needs the journal to explain it.
  var isTight: Bool { (usesStore ? storeEntries : memoryEntries) < Self.keyCount }
  var isOneStream: Bool { writers == 1 }

  init() {}

  init(using random: inout SplitMix64) {
    level = [.enqueued, .written, .durable].randomElement(using: &random)!
    writers = [1, 1, 4, 16].randomElement(using: &random)!
    access = ["recency", "recency", "lookups", "off"].randomElement(using: &random)!
    memoryEntries = [3, 10, 40].randomElement(using: &random)!
    usesStore = Int.random(in: 0..<6, using: &random) > 0
    if !usesStore { memoryEntries = [10, 100].randomElement(using: &random)! }
    storeEntries = [40, 100, 100].randomElement(using: &random)!
    segmentBytes = [64 << 10, 64 << 10, 1 << 20].randomElement(using: &random)!
    syncInterval = [0.01, 0.1, 1].randomElement(using: &random)!
    continuesInMemory = Bool.random(using: &random)
    if !isTight { retentionBytes = [nil, 256 << 10].randomElement(using: &random)! }
  }

  var arguments: [String] {
    var arguments = [
      "--acknowledge", level.rawValue, "--writers", "\(writers)", "--access", access,
      "--memory-entries", "\(memoryEntries)",
      "--segment-bytes", "\(segmentBytes)", "--sync-interval", "\(syncInterval)",
    ]
    if let retentionBytes { arguments += ["--retention-bytes", "\(retentionBytes)"] }
    arguments += usesStore ? ["--store-entries", "\(storeEntries)"] : ["--no-store"]
    if continuesInMemory { arguments.append("--continue-in-memory") }
    return arguments
  }
}
