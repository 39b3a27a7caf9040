import Foundation
import Hindsight
import HindsightJournal
import HindsightStore

/// Looks at the whole of a store's file, for a repair. An opening reads only what it needs: damage elsewhere in
/// the file, or rows that its tables don't allow, would stay.
struct StoreCheck {
  let directory: String

  /// A store that was put aside.
  struct Aside {
    /// What was found, in words.
    var damage: [String]
    /// What it is called now, in the cache's directory.
    var name: String?
  }

  /// Puts the store aside where it is damaged, so that the opening builds it again from the journal.
  /// - Parameter usesJournal: whether the opening does.
  /// - Returns: `nil` where the store is whole, or where there is none; also where the opening refuses to go
  ///   without a journal that is there.
  /// - Throws: `CheckFailure` where it is damaged and there is no journal: nothing is changed then;
  ///   `OpeningFailure` where somebody else has the cache, or something can't be read.
  func putAsideIfDamaged(usesJournal: Bool) throws -> Aside? {
    let hasJournal: Bool
    let lock: any DirectoryLock
    do throws(StorageError) {
      let storage = try PosixStorage(path: directory)
      lock = try storage.lock()
      hasJournal = try storage.list().contains(where: JournalDirectory.isSegment)
    } catch {
      throw OpeningFailure(error: CacheError(storage: error))
    }
    defer { lock.unlock() }
    let damage: [String]
    do throws(StoreError) {
      damage = try self.damage()
      if damage.isEmpty { return nil }
      if hasJournal {
        guard usesJournal else { return nil }
        return Aside(damage: damage, name: try SQLiteStore(directory: directory).quarantine())
      }
    } catch {
      throw OpeningFailure(error: CacheError(store: error))
    }
    throw refusal(damage)
  }

  /// What is wrong with the store.
  private func damage() throws(StoreError) -> [String] {
    guard FileManager.default.fileExists(atPath: "\(directory)/\(StoreBounds.fileName)") else {
      return []
    }
    do throws(StoreError) {
      return try StoreInspector(directory: directory).quickCheck()
        .map { "\(StoreBounds.fileName): \($0)" }
    } catch {
      guard error.remedy == .rebuild else { throw error }
      return ["\(error)"]
    }
  }

  private func refusal(_ damage: [String]) -> CheckFailure {
    let path = "\(directory)/\(StoreBounds.fileName)"
    let found = damage.map { "damage: \(Output.printable($0))\n" }.joined()
    return CheckFailure(
      message: found + """
        hindsight: the store is damaged, and there is no journal to build it again from. Nothing was \
        changed. Read what can be read of it, as by sqlite3 \(Output.printable(path)) .recover; then move \
        \(StoreBounds.fileName) and the files beside it away, and the next opening begins anew.
        """)
  }
}
