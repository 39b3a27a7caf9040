public import Foundation

/// What went wrong, as one error type for the whole public interface.
///
/// - `code` is for programs: it is stable, and `hindsight exec` prints it.
/// - `message` is for people: it names file, line or offset where there is one, and what to do.
public struct CacheError: Error, Sendable {
  public enum Code: String, Sendable, Hashable, CaseIterable {
    /// A key is empty, longer than 1,024 UTF-8 bytes, or lacks its registry or package.
    case invalidKey
    /// A value does not encode, or is over 16 MiB encoded, or over the limits by bytes.
    case invalidValue
    /// A TTL is negative, not a number, or beyond 2^53 µs.
    case invalidTTL
    /// A reason is over 256 UTF-8 bytes.
    case invalidReason
    /// A configuration that can't be.
    case invalidConfiguration
    /// Another process, or another cache in this one, has the directory open.
    case locked
    /// The cache is closed.
    case closed
    /// No space is left: nothing was written and nothing changed. Reads go on.
    case outOfSpace
    /// The journal can't be written at present: nothing was written and nothing changed.
    case journalUnavailable
    /// The change is in force in this process, but whether it will survive a crash isn't known.
    case outcomeUnknown
    /// The journal is damaged, and opening it would lose what had been durable.
    case journalCorrupt
    /// The store can't be read or written at present.
    case storeUnavailable
    /// A queue is at its limit, and the configuration says to fail rather than to wait.
    case backpressure
    /// The operating system refused something.
    case system
    /// The task was cancelled before anything happened.
    case cancelled
  }

  public var code: Code
  public var message: String
  /// What caused it, where something else did.
  public var underlying: (any Error)?

  public init(_ code: Code, _ message: String, underlying: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.underlying = underlying
  }
}

extension CacheError: CustomStringConvertible {
  public var description: String { "\(code.rawValue): \(message)" }
}

extension CacheError: LocalizedError {
  public var errorDescription: String? { description }
}
