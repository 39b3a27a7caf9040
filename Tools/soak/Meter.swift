import Foundation

/// What this process takes from the machine, as /proc tells it (proc(5)).
struct Meter {
  var residentBytes: UInt64
  var descriptors: UInt64
  var threads: UInt64

  static func read() throws -> Meter {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    func field(_ name: String) -> UInt64 {
      guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix(name) }) else {
        return 0
      }
      return line.split(whereSeparator: { !$0.isNumber }).first.flatMap { UInt64($0) } ?? 0
    }
    return Meter(
      residentBytes: field("VmRSS:") << 10,
      // One of them lists the directory.
      descriptors: UInt64(
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count)
        - 1,
      threads: field("Threads:"))
  }
}
