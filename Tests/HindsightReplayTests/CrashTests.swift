import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay
import HindsightTesting
import Synchronization
import SystemPackage
import Testing

/// A loss of power at every operation of the storage, with unsynced sectors and names surviving
/// wholly, not at all, and at random.
@Suite("S040 crashes")
struct CrashTests {
  /// What a crash could have left behind, and what must be in it.
  private struct Image: Sendable {
    var storage: SimulatedStorage
    var durable: UInt64
    var what: String
  }

  /// Takes images while a lab works.
  private final class Camera: Sendable {
    private let state: Mutex<(images: [Image], random: SplitMix64, durable: UInt64, count: Int)>

    private let start = Thinning.start

    init(seed: UInt64) { state = Mutex(([], SplitMix64(seed: seed), 0, 0)) }

    func watch(_ storage: SimulatedStorage) {
      storage.inject { [self] operation, file in
        if operation != .read && operation != .size && operation != .list {
          shoot(storage, "\(operation) \(file)")
        }
        return nil
      }
    }

    /// What was acknowledged as durable.
    func note(durable: UInt64) { state.withLock { $0.durable = durable } }

    var images: [Image] { state.withLock { $0.images } }

    private func shoot(_ storage: SimulatedStorage, _ what: String) {
      state.withLock { state in
        state.count += 1
        guard state.count % Thinning.step == start else { return }
        let at = "before operation \(state.count), \(what)"
        func add(_ kind: String, _ survives: (String, Int) -> Bool) {
          state.images.append(
            Image(
              storage: storage.crashImage(survives: survives), durable: state.durable,
              what: "\(kind) \(at)"))
        }
        add("nothing unsynced survives") { _, _ in false }
        add("everything survives") { _, _ in true }
        var random = state.random
        for _ in 0..<2 {
          add("random sectors survive") { _, _ in Bool.random(using: &random) }
        }
        state.random = random
      }
    }
  }

  /// Sets, invalidations, rotations, checkpoints, syncs, a proper close, a reopening.
  private func work(_ lab: Lab, _ camera: Camera, seed: UInt64) async throws {
    var random = SplitMix64(seed: seed)
    func sync() async throws {
      try await lab.sync()
      camera.note(durable: lab.lastSequence)
    }
    try await lab.open()
    camera.watch(lab.storage)
    for round in 0..<32 {
      let noise = (0..<Int.random(in: 1...12_000, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      try await lab.set("k:\(Int.random(in: 0..<6, using: &random))", noise)
      if round % 3 == 0 { try await lab.invalidate("k:\(Int.random(in: 0..<6, using: &random))") }
      if round % 4 == 0 { _ = try await lab.get("k:\(Int.random(in: 0..<6, using: &random))") }
      if Int.random(in: 0..<3, using: &random) == 0 { try await sync() }
      if round == 23 {
        try await lab.close()
        try await lab.open()
      }
    }
    lab.kill()
    // What watches a storage has its images, and the storage what watches it.
    lab.storage.inject(nil)
  }

  private func check(
    _ image: Image, _ lab: Lab, _ history: Lab.History, seed: UInt64
  ) async throws {
    let what = "seed \(seed): \(image.what)"
    do {
      try await lab.open(image.storage)
    } catch {
      Issue.record("\(what): refused: \(error)")
      return
    }
    let cache = try #require(lab.cache)
    let last = cache.recovery.lastSequence
    #expect(last >= image.durable, "\(what): \(last) is before \(image.durable)")
    let expected = try #require(history[last], "\(what): \(last) is no frame's end")
    for key in 0..<6 {
      #expect(
        try await cache.get(try CacheKey("k:\(key)")) == expected["k:\(key)"], "\(what): k:\(key)")
    }
    try await lab.end()
    let problems = lab.verify(image.storage).problems
    #expect(problems.isEmpty, "\(what): \(problems)")
  }

  @Test("what is durable survives a crash at every operation", arguments: [1, 2] as [UInt64])
  func everyOperation(seed: UInt64) async throws {
    let camera = Camera(seed: seed)
    let lab = Lab(memory: 4)
    try await work(lab, camera, seed: seed)
    #expect(lab.storage.names.contains { $0.hasSuffix(".checkpoint") })
    #expect(camera.images.count > 300 / Thinning.step)
    for image in camera.images { try await check(image, lab, lab.history, seed: seed) }
  }

  @Test("a recovery that crashes is simply run again")
  func duringRecovery() async throws {
    let seed: UInt64 = 3
    let camera = Camera(seed: seed)
    let lab = Lab(memory: 4)
    try await work(lab, camera, seed: seed)
    var random = SplitMix64(seed: seed)
    var nested = 0
    let most = 80 / Thinning.step
    for image in camera.images where Int.random(in: 0..<most, using: &random) == 0 {
      let recovering = Camera(seed: random.next())
      recovering.note(durable: image.durable)
      recovering.watch(image.storage)
      try await lab.open(image.storage)
      image.storage.inject(nil)
      // A session that does nothing may be lost; what it recovered may not.
      let cache = try #require(lab.cache)
      let opened = cache.stateDigest.sequence
      let kept = try #require(lab.history[cache.recovery.lastSequence])
      var history = lab.history
      history[opened] = kept
      lab.kill()
      for var again in recovering.images {
        nested += 1
        again.what = "\(image.what), then \(again.what)"
        try await check(again, lab, history, seed: seed)
      }
    }
    #expect(nested > 50 / Thinning.step)
  }
}
