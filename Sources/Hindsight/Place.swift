internal import Foundation
package import HindsightJournal
package import HindsightStore

/// Where a cache lives: the seams of storage and store.
package enum Place: Sendable {
  case memory
  case directory(String)
  /// Somebody else's storage, and the store beside it.
  case custom(any JournalStorage, (any StoreBackend)?)

  func open() throws(CacheError) -> (any JournalStorage, (any StoreBackend)?)? {
    switch self {
    case .memory: return nil
    case .custom(let storage, let store): return (storage, store)
    case .directory(let path):
      do throws(StorageError) {
        let storage = try PosixStorage(path: path)
        return (storage, SQLiteStore(directory: storage.path))
      } catch {
        throw CacheError(storage: error)
      }
    }
  }
}

extension CacheError {
  /// What is wrong with the files or with how they are opened, which are told by their names, and in which directory.
  func located(in place: Place) -> CacheError {
    guard case .directory(let path) = place else { return self }
    guard code == .journalCorrupt || code == .invalidConfiguration else { return self }
    return CacheError(code, "\(path): \(message)", underlying: underlying)
  }

  package init(storage error: StorageError) {
    if error.operation == "lock", error.code == .wouldBlock {
      let holder = error.holder.map { "process \($0)" } ?? "another process"
      let isOwn = error.holder == ProcessInfo.processInfo.processIdentifier
      self.init(
        .locked,
        "\(error.file) is open in \(holder)"
          + (isOwn
            ? ", this one; close it first (one that was dropped without is closed in the background)"
            : "; close it there first"),
        underlying: error)
    } else if error.isOutOfSpace {
      self.init(
        .outOfSpace, "\(error); \(error.roomAdvice) and try again", underlying: error)
    } else {
      self.init(.system, error.advised, underlying: error)
    }
  }

  /// The journal can't be written, in a cache that is open.
  init(writing error: StorageError) {
    guard !error.isOutOfSpace else {
      self.init(
        .outOfSpace, "\(error); \(error.roomAdvice), the cache resumes by itself",
        underlying: error)
      return
    }
    self.init(
      .journalUnavailable, "\(error); the cache goes on trying", underlying: error)
  }

  package init(store error: StoreError) {
    guard error.code != .closed else {
      self.init(.closed, "\(error)", underlying: error)
      return
    }
    let advice =
      switch error.remedy {
      case .retry: "try again"
      case .makeRoom: "free some space and try again"
      case .reconcile, .rebuild: "open the cache again, or run 'hindsight repair', to mend it"
      case .report: "look at the file's permissions, and at the disk and its mount"
      }
    self.init(.storeUnavailable, "\(error); \(advice)", underlying: error)
  }

  init(journal error: JournalError) {
    switch error {
    case .storage(let error): self.init(storage: error)
    case .corrupt(let damage) where damage.isNewerVersion:
      self.init(
        .journalCorrupt, "\(damage). The journal was not changed. Open it with newer software",
        underlying: damage)
    case .corrupt(let damage):
      self.init(
        .journalCorrupt,
        "\(damage). The journal was not changed. Run 'hindsight verify' to see all damage, and "
          + "'hindsight repair' (or open with corruption = .salvage) to keep what is whole",
        underlying: damage)
    }
  }
}

extension StorageError {
  /// What makes room: on the disk, or for the file alone, which its process may not make any longer.
  fileprivate var roomAdvice: String {
    code == .fileTooLarge
      ? "raise the limit on file sizes (ulimit -f, RLIMIT_FSIZE)" : "free some space"
  }
}
