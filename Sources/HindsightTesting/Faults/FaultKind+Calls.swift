import HindsightStore
import SystemPackage

/// A call of the store, as `StoreBackend` and its connections have them.
public enum StoreCall: String, CaseIterable, Sendable, Hashable {
  case openWriter, openReader, quarantine
  case mark, apply, checkpoint, rows
  case readInPlace, read
}

extension FaultKind {
  typealias Operation = SimulatedStorage.Operation

  /// The one call that fails, and how, for the kinds that are no more than that.
  var failingCall: (operation: Operation, code: Errno)? {
    switch self {
    case .listIOError: (.list, .ioError)
    case .openIOError: (.open, .ioError)
    case .createIOError: (.create, .ioError)
    case .renameIOError: (.rename, .ioError)
    case .removeIOError: (.remove, .ioError)
    case .directorySyncIOError: (.syncDirectory, .ioError)
    case .lockIOError: (.lock, .ioError)
    case .readIOError: (.read, .ioError)
    case .writeIOError: (.write, .ioError)
    case .allocateIOError: (.allocate, .ioError)
    case .truncateIOError: (.truncate, .ioError)
    case .sizeIOError: (.size, .ioError)
    case .closeIOError: (.close, .ioError)
    case .createNoSpace: (.create, .noSpace)
    case .renameNoSpace: (.rename, .noSpace)
    case .writeNoSpace: (.write, .noSpace)
    case .allocateNoSpace: (.allocate, .noSpace)
    case .syncNoSpace: (.sync, .noSpace)
    case .createQuota: (.create, .diskQuotaExceeded)
    case .writeQuota: (.write, .diskQuotaExceeded)
    case .allocateQuota: (.allocate, .diskQuotaExceeded)
    case .syncQuota: (.sync, .diskQuotaExceeded)
    case .openTooManyFiles: (.open, .tooManyOpenFiles)
    case .createTooManyFiles: (.create, .tooManyOpenFiles)
    default: nil
    }
  }

  /// The calls of the storage at which this kind may come in; none for all other kinds.
  var operations: [Operation] {
    if let failingCall { return [failingCall.operation] }
    switch self {
    case .interrupted, .slowEverything, .crashDuringRecovery, .crashTwiceDuringRecovery,
      .directoryRemoved:
      return Operation.allCases
    case .shortWrite, .lostWrite, .misdirectedWrite, .crashAtWrite: return [.write]
    case .failedButDone: return [.create, .rename, .remove, .write, .allocate, .truncate]
    case .syncErrorReverted, .syncErrorKept, .syncLies, .slowSync, .crashAtSync: return [.sync]
    case .crashAtCreate: return [.create]
    case .crashAtRename: return [.rename]
    case .crashAtDirectorySync: return [.syncDirectory]
    case .readOnlyFileSystem:
      return [.create, .rename, .remove, .write, .allocate, .truncate]
    case .noPermission: return [.list, .open, .create, .rename, .remove]
    default: return []
    }
  }

  /// The calls of the store at which this kind may come in.
  var storeCalls: [StoreCall] {
    switch self {
    case .storeBusy: [.openWriter, .openReader, .mark, .apply, .checkpoint, .rows, .read]
    case .storeFull: [.openWriter, .apply, .checkpoint, .quarantine]
    case .storeIOError, .storeSlow: StoreCall.allCases
    case .storeCorrupt, .storeNotADatabase: StoreCall.allCases.filter { $0 != .quarantine }
    case .storeReadOnly: [.openWriter, .apply, .checkpoint, .quarantine]
    case .storeCantOpen: [.openWriter, .openReader]
    case .storeCommitUnclear: [.apply]
    case .storeCold: [.readInPlace]
    default: []
    }
  }

  /// The code with which a call of the store fails.
  var storeCode: StoreError.Code? {
    switch self {
    case .storeBusy: .busy
    case .storeFull: .full
    case .storeIOError: .ioError
    case .storeCorrupt: .corrupt
    case .storeNotADatabase: .notADatabase
    case .storeReadOnly: .readOnly
    case .storeCantOpen: .cantOpen
    default: nil
    }
  }
}
