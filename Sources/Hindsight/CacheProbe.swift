package import HindsightCore

/// A cache's inside at one moment, for a simulator that checks every step.
package struct CacheView: Sendable {
  package var sequence: UInt64
  /// Of the last event.
  package var at: Timestamp
  package var digest: UInt64
  /// Whether the order of use has changed in a way that no event tells yet: then a replay up to
  /// `sequence` comes to another digest.
  package var hasUntoldTouches: Bool
  package var written: UInt64
  package var durable: UInt64
  /// What the store has committed; `nil` without one.
  package var applied: UInt64?
  /// Whether the journal, or the store, can't be written at present.
  package var hasJournalTrouble: Bool
  package var hasStoreTrouble: Bool
  /// Whether reads may append to the journal at present.
  package var canRecord: Bool
  package var isOpen: Bool
  /// Residents per tier, whether or not they are past their expiry, and their bytes.
  package var residents: TierCounts
  package var bytes: TierCounts
  /// All entries, the most recent first.
  package var entries: [EntryImage]
}

/// Looks into an engine without keeping it alive.
package final class CacheProbe: Sendable {
  private weak let engine: Engine?

  init(_ engine: Engine) { self.engine = engine }

  /// `nil` once nobody holds the engine any more.
  package var view: CacheView? {
    engine?.locked { state in state.view() }
  }

  /// Whether nobody holds the engine any more: nothing leaked.
  package var isGone: Bool { engine == nil }
}

extension Cache {
  /// A look inside that outlives the handle.
  package var probe: CacheProbe { CacheProbe(engine) }
}

extension EngineState {
  fileprivate borrowing func view() -> CacheView {
    var entries: [EntryImage] = []
    core.forEachSlot { slot in entries.append(core.image(of: slot)) }
    return CacheView(
      sequence: core.head.sequence.rawValue, at: core.head.at, digest: core.digest,
      hasUntoldTouches: core.hasUntoldTouches, written: commit.written.rawValue,
      durable: commit.durable.rawValue, applied: hasStore ? projection.applied.rawValue : nil,
      hasJournalTrouble: commit.trouble != nil, hasStoreTrouble: projection.trouble != nil,
      canRecord: canRecord, isOpen: phase == .open,
      residents: TierCounts(
        memory: core.residentCount(in: .memory), store: core.residentCount(in: .store)),
      bytes: TierCounts(
        memory: Int(core.byteCount(in: .memory)), store: Int(core.byteCount(in: .store))),
      entries: entries)
  }
}
