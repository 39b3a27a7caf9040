import Foundation

/// How values become bytes and come back.
///
/// A value is encoded once, by `set`, outside any lock; memory holds the decoded value. A value
/// that no longer decodes is a miss, and is invalidated with that as its reason.
public struct ValueCoder<Value: Sendable>: Sendable {
  /// Stored beside each value: 1 JSON, 2 raw bytes, 128 to 255 for the caller's own. A value that
  /// another coder wrote does not decode.
  public let id: UInt8
  /// Gives a value's bytes, at most 16 MiB. What it throws, `set` throws as `.invalidValue`.
  public let encode: @Sendable (Value) throws -> [UInt8]
  /// Gives the value back. Where it throws, the value no longer decodes.
  public let decode: @Sendable ([UInt8]) throws -> Value
  /// Whether values are arrays of bytes that are their own encoding: they take no box then.
  @usableFromInline let isPlain: Bool
  /// Whether it takes the bytes of other coders' values, too.
  let readsOthers: Bool

  /// A coder of the caller's own.
  /// - Parameters:
  ///   - id: 128 to 255; a lower one is a programming error and traps.
  ///   - encode: must give the same bytes for the same value wherever digests are compared.
  ///   - decode: throws where the bytes are not a value.
  public init(
    id: UInt8, encode: @escaping @Sendable (Value) throws -> [UInt8],
    decode: @escaping @Sendable ([UInt8]) throws -> Value
  ) {
    precondition(id >= 128, "coder ids below 128 are Hindsight's own")
    self.init(reserved: id, encode: encode, decode: decode)
  }

  init(
    reserved id: UInt8, isPlain: Bool = false, readsOthers: Bool = false,
    encode: @escaping @Sendable (Value) throws -> [UInt8],
    decode: @escaping @Sendable ([UInt8]) throws -> Value
  ) {
    self.id = id
    self.isPlain = isPlain
    self.readsOthers = readsOthers
    self.encode = encode
    self.decode = decode
  }
}

extension ValueCoder where Value: Codable {
  /// JSON with sorted keys, so that equal values have equal bytes, but for what has no order and is an array in
  /// JSON: a `Set`, a `Dictionary` whose keys are neither strings nor integers.
  public static var json: ValueCoder {
    ValueCoder(
      reserved: 1,
      encode: { value in
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return [UInt8](try encoder.encode(value))
      },
      decode: { try JSONDecoder().decode(Value.self, from: Data($0)) })
  }
}

extension ValueCoder where Value == [UInt8] {
  /// The bytes as they are.
  public static var bytes: ValueCoder {
    ValueCoder(reserved: 2, isPlain: true, encode: { $0 }, decode: { $0 })
  }

  /// JSON text as it is, which other programs then see as JSON. The caller vouches for it.
  public static var jsonText: ValueCoder {
    ValueCoder(reserved: 1, isPlain: true, encode: { $0 }, decode: { $0 })
  }

  /// The same for who looks at anybody's cache: a value of another coder comes as the bytes that it is kept as,
  /// where it would else be invalidated.
  package static var anyText: ValueCoder {
    ValueCoder(
      reserved: 1, isPlain: true, readsOthers: true, encode: { $0 }, decode: { $0 })
  }
}
