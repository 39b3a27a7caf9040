import CHindsightZlib

/// What zlib makes of raw deflate, for comparison with what reads the journal.
package enum ZlibInflater {
  package enum Outcome: Equatable {
    case bytes([UInt8])
    case refused
    /// It gives more than was asked for.
    case tooLong
  }

  /// Inflates a stream at once.
  /// - Parameter isFlushed: whether it ends with a flush (Z_SYNC_FLUSH), not with its last block.
  package static func inflate(_ stream: [UInt8], isFlushed: Bool, countMax: Int) -> Outcome {
    var state = z_stream()
    let begun = inflateInit2_(&state, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    precondition(begun == Z_OK, "zlib gives no stream (\(begun))")
    defer { inflateEnd(&state) }
    var input = stream
    var result = Z_OK
    var left = 0
    let output = [UInt8](unsafeUninitializedCapacity: countMax + 1) { output, count in
      input.withUnsafeMutableBufferPointer { input in
        state.next_in = input.baseAddress
        state.avail_in = UInt32(input.count)
        state.next_out = output.baseAddress
        state.avail_out = UInt32(output.count)
        result = CHindsightZlib.inflate(&state, isFlushed ? Z_SYNC_FLUSH : Z_FINISH)
        left = Int(state.avail_in)
      }
      count = output.count - Int(state.avail_out)
    }
    guard output.count <= countMax else { return .tooLong }
    // Nothing to do at all is no mistake of a flushed stream's.
    let isWell = isFlushed ? result == Z_OK || stream.isEmpty : result == Z_STREAM_END
    return isWell && left == 0 ? .bytes(output) : .refused
  }
}
