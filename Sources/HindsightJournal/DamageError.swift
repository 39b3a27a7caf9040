public import HindsightCore

/// Damage, with the file and the place in it.
public enum DamageError: Error, Sendable, CustomStringConvertible {
  case storage(StorageError)
  case format(file: String, offset: UInt64, FormatError)
  /// The checksums are right, but the event can't be: see `StateError`.
  case state(file: String, offset: UInt64, StateError)
  /// Files are missing, or don't belong together.
  case structure(file: String, String)

  public var description: String {
    switch self {
    case .storage(let error): error.description
    case .format(let file, let offset, let error): "\(file), offset \(offset): \(error)"
    case .state(let file, let offset, let error): "\(file), offset \(offset): \(error)"
    case .structure(let file, let what): "\(file): \(what)"
    }
  }
}

extension DamageError {
  /// Whether something was read, and is wrong.
  package var isOfContents: Bool {
    if case .storage = self { return false }
    return true
  }

  /// Whether newer software wrote the file, which then is whole for all we know.
  public var isNewerVersion: Bool {
    if case .format(_, offset: 0, .unknownVersion) = self { return true }
    return false
  }

  /// The failed operation of the storage, where that is all: what can't be read may be whole, and
  /// must not be dropped, passed over as evidence, or salvaged away. A file that isn't there is an
  /// answer.
  public var storageFailure: StorageError? {
    if case .storage(let error) = self, error.code != .noSuchFileOrDirectory { return error }
    return nil
  }

  public static func wrap<R>(_ body: () throws(StorageError) -> R) throws(DamageError) -> R {
    do throws(StorageError) {
      return try body()
    } catch {
      throw .storage(error)
    }
  }
}
