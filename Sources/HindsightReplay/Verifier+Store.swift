import HindsightCore
import HindsightJournal
import HindsightStore

// The store: whether it is whole, whose it is, and whether its rows are the projection.

extension Verifier {
  func inspect(_ result: inout Verification) -> StoreInspector? {
    do throws(StoreError) {
      guard let store = try openStore() else { return nil }
      for finding in try store.quickCheck() { result.note(.init(store: finding)) }
      return store
    } catch {
      result.note(Verification.Problem(error))
      return nil
    }
  }

  func sayWhatStoreLacks(
    _ store: StoreInspector?, _ opened: Opened?, _ result: inout Verification
  ) {
    guard store?.mark == nil, opened?.storeLimit != nil,
      !result.problems.contains(where: \.isOfStore)
    else { return }
    let found = store == nil ? "there is no store" : "the store is empty"
    result.notes.append("\(found); opening the cache makes it anew from the journal")
  }

  /// The mark of a store that is this journal's.
  func ours(
    _ store: StoreInspector, _ directory: JournalDirectory, _ result: inout Verification
  ) -> StoreMark? {
    guard let mark = store.mark, let id = directory.journalID else { return nil }
    guard mark.journalID == id else {
      result.notes.append(
        "the store is not this journal's projection; opening the cache reconciles it")
      return nil
    }
    result.storeApplied = mark.applied.rawValue
    return mark
  }

  func compare(
    _ store: StoreInspector, _ sink: VerifyingSink, _ result: inout Verification
  ) {
    func problem(_ message: String) { result.note(.init(store: message)) }
    if sink.projection == nil, sink.isAppliedInGap {
      result.notes.append(
        "the store ends inside a gap of the journal, so its rows can't be compared; opening the "
          + "cache reconciles it")
      return
    }
    guard var expected = sink.projection else { return sayWhyNotComparable(sink, &result) }
    do throws(StoreError) {
      var last = SequenceNumber.zero
      while true {
        let rows = try store.rows(after: last, limit: 1_024, detail: .hashes)
        guard let end = rows.last else { break }
        last = end.origin
        for row in rows {
          guard let image = expected.removeValue(forKey: row.origin) else {
            problem("row \(row.origin) is not in the projection")
            continue
          }
          if image.matches(row) {
            result.rows += 1
          } else {
            problem("row \(row.origin) differs from what the journal set")
          }
        }
      }
    } catch {
      return result.note(Verification.Problem(error))
    }
    let missing = expected.keys.filter { !sink.mayBeGone.contains($0) }
    for origin in missing.sorted() { problem("row \(origin) is missing") }
  }

  /// The replay did not come by the store's applied sequence.
  private func sayWhyNotComparable(_ sink: VerifyingSink, _ result: inout Verification) {
    let applied = result.storeApplied ?? 0
    if applied > result.lastSequence {
      result.note(
        .init(store: "the store has applied event \(applied), which the journal doesn't reach"))
    } else if sink.damagedThrough != nil {
      result.notes.append(
        "the store ends at event \(applied), where the journal has a hole, so its rows can't be "
          + "compared")
    } else {
      result.note(
        .init(store: "the store ends at event \(applied), before what is left of the journal"))
    }
  }

  func isOutdated(_ store: StoreInspector?, _ result: inout Verification) -> Bool {
    do throws(StoreError) {
      return try store?.isOutdated() ?? false
    } catch {
      result.note(Verification.Problem(error))
      return false
    }
  }
}
