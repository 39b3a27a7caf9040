import Foundation
import Synchronization

/// Watches a directory for a checkpoint being written.
final class CheckpointWatch: Sendable {
  private static let intervalSeconds = 0.0005

  private let directory: String
  private let found = Mutex<Double?>(nil)
  private let current = Atomic<HitProbe.Phase>(.waiting)

  init(_ directory: String) { self.directory = directory }

  /// Measuring is while the checkpoint is captured and written.
  var phase: HitProbe.Phase { current.load(ordering: .relaxed) }

  /// How long the checkpoint took to capture and write, to half a millisecond, once it is there.
  var seconds: Double? { found.withLock { $0 } }

  /// Waits for the next checkpoint that begins, on a thread of its own.
  func start() {
    Thread.detachNewThread { [self] in
      // One that is under way already was not seen from its beginning.
      while phase != .over, Self.isWriting(in: directory) { rest() }
      while phase != .over, !Self.isWriting(in: directory) { rest() }
      let began = BenchTools.clock.now
      guard move(from: .waiting, to: .measuring) else { return }
      while phase != .over, Self.isWriting(in: directory) { rest() }
      let seconds = (BenchTools.clock.now - began).seconds
      if move(from: .measuring, to: .over) { found.withLock { $0 = seconds } }
    }
  }

  func stop() { current.store(.over, ordering: .relaxed) }

  private func rest() { Thread.sleep(forTimeInterval: Self.intervalSeconds) }

  private func move(from: HitProbe.Phase, to: HitProbe.Phase) -> Bool {
    current.compareExchange(expected: from, desired: to, ordering: .relaxed).exchanged
  }

  private static func isWriting(in directory: String) -> Bool {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: directory)
        .contains { $0.hasSuffix(".checkpoint.tmp") }
    } catch {
      return false  // The directory is gone: the measurement is over.
    }
  }
}
