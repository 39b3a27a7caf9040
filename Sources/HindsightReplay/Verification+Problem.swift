import HindsightJournal
import HindsightStore

// Problems from the errors that tell of them.

extension DamageError {
  /// Whether the system failed, so that what it is about may be whole. What stands in a file's place and is no file
  /// was put there.
  var isUnreadable: Bool {
    storageFailure.map { $0.code != .invalidArgument } ?? false
  }
}

extension Verification.Problem {
  package init(_ error: DamageError) {
    switch error {
    case .storage(let failure):
      self.init(
        file: failure.file, offset: nil, message: failure.advised, isFailure: error.isUnreadable)
    case .format(let file, let offset, let error):
      self.init(file: file, offset: offset, message: "\(error)")
    case .state(let file, let offset, let error):
      self.init(file: file, offset: offset, message: "\(error)")
    case .structure(let file, let message):
      self.init(file: file, offset: nil, message: message)
    }
  }

  init(store message: String) {
    self.init(file: StoreBounds.fileName, offset: nil, message: message)
  }

  init(_ error: StoreError) {
    self.init(store: "\(error)")
    isFailure = error.isFailure
  }

  var isOfStore: Bool { file == StoreBounds.fileName }
}

extension StoreError {
  /// Whether the system failed, so that nothing was found out about the store.
  fileprivate var isFailure: Bool {
    switch code {
    case .corrupt, .notADatabase, .foreign, .conflict: false
    // Without a code of the system's: something else stands in the file's place.
    case .cantOpen: extendedCode != 0
    case .busy, .full, .ioError, .readOnly, .closed, .other: true
    }
  }
}
