import HindsightCore
import Synchronization

/// What happens in a simulation, as a digest, and line by line where that is asked for.
final class SimulationLog: Sendable {
  private let state = Mutex((digest: UInt64(0), lines: [String]()))
  private let isTracing: Bool

  init(isTracing: Bool) { self.isTracing = isTracing }

  var digest: UInt64 { state.withLock { $0.digest } }
  var lines: [String] { state.withLock { $0.lines } }

  func note(_ line: String) {
    state.withLock { state in
      state.digest = XXH64.hash(Bytes(line.utf8), seed: state.digest)
      if isTracing { state.lines.append(line) }
    }
  }
}

/// Where the product's random numbers come from in a simulation.
final class RandomSource: Sendable {
  private let generator: Mutex<SplitMix64>
  init(seed: UInt64) { generator = Mutex(SplitMix64(seed: seed)) }
  func next() -> UInt64 { generator.withLock { $0.next() } }
}
