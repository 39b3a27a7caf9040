import Foundation

/// A directory of a test's own, removed with what is in it when nobody holds it any more.
package final class TemporaryDirectory: Sendable {
  package let path: String

  /// A directory for a cache in it, not there yet.
  package var cache: String { path + "/cache" }

  /// - Parameters:
  ///   - name: what the directory is for, as its name says.
  ///   - parent: where it is made; `nil` for the system's place for temporary files.
  package init(_ name: String = "test", in parent: String? = nil) throws {
    let url = parent.map { URL(fileURLWithPath: $0) } ?? FileManager.default.temporaryDirectory
    path = url.appendingPathComponent("hindsight-\(name)-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      preconditionFailure("\(path) can't be removed: \(error)")
    }
  }
}
