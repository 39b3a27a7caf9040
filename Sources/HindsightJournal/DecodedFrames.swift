import HindsightCore

/// The frames of one segment with their events, in their order; decoded ahead on another core.
struct DecodedFrames {
  struct Frame: Sendable {
    /// As it stands in the file.
    var read: FrameReader.Frame
    var events: FrameEvents

    var header: FrameHeader { read.header }
    var headerChecksum: UInt32 { read.headerChecksum }
    var offset: UInt64 { read.offset }
    var end: UInt64 { read.end }
  }

  enum Found: Sendable {
    case frame(Frame)
    /// The frame at the step's place has the right checksums, but not the right events.
    case undecodable(FormatError)
    /// The file's end, or nothing but zeros up to it.
    case end
    /// Something that is no frame of this segment.
    case bad(FormatError)
    case failed(StorageError)
  }

  struct Step: Sendable {
    var found: Found
    /// Where the frame begins, or whatever stands there.
    var offset: UInt64
    var previousChecksum: UInt32?
  }

  /// What the thread hands over: all of a step, or a frame whose events are still to be decoded.
  enum Handed: Sendable {
    case step(Step)
    case body([UInt8], FrameReader.Frame, previousChecksum: UInt32?)
  }

  /// Below it, a thread costs more than it gains.
  private static let byteCountMin: UInt64 = 128 << 10
  /// Decoded events that wait, in bytes.
  private static let costMax = 4 << 20

  private let produce: (ReadAhead<Handed>?) -> ReadAhead<Handed>.Produced
  private let readAhead: ReadAhead<Handed>?
  private let lendsSets: Bool

  /// Call `stop` in any case when done.
  /// - Parameter lendsSets: see `FrameEvents`.
  init(_ reader: FrameReader, lendsSets: Bool) throws(StorageError) {
    var reader = reader
    let decoder = BodyDecoder()
    self.lendsSets = lendsSets
    produce = { Self.produce(&reader, decoder, lendsSets, for: $0) }
    let size = try reader.file.size()
    let isLong = size > reader.offset && size - reader.offset >= Self.byteCountMin
    readAhead = isLong ? ReadAhead(costMax: Self.costMax, produce: produce) : nil
  }

  /// What comes next; after what is no frame, nothing does.
  func next() -> Step {
    switch readAhead?.next() ?? produce(nil).element {
    case .step(let step): step
    case .body(let body, let frame, let previousChecksum):
      Step(
        found: Self.decode(body, frame, lendsSets), offset: frame.offset,
        previousChecksum: previousChecksum)
    }
  }

  func stop() { readAhead?.stop() }

  /// Reads, checks and decompresses, and decodes the events, too, unless who takes the frame waits for it:
  /// it then decodes them while the next frame is read.
  private static func produce(
    _ reader: inout FrameReader, _ decoder: BodyDecoder, _ lendsSets: Bool,
    for readAhead: ReadAhead<Handed>?
  ) -> ReadAhead<Handed>.Produced {
    let offset = reader.offset
    let found: Found
    do throws(StorageError) {
      switch try reader.next() {
      case .end: found = .end
      case .bad(let error): found = .bad(error)
      case .frame(let frame):
        let body: [UInt8]
        do throws(FormatError) {
          body = try frame.header.body(frame.stored, decoder)
        } catch {
          found = .undecodable(error)
          break
        }
        if readAhead?.isAwaited ?? false {
          return (.body(body, frame, previousChecksum: reader.previousChecksum), body.count, false)
        }
        found = decode(body, frame, lendsSets)
      }
    } catch {
      found = .failed(error)
    }
    let step = Step(found: found, offset: offset, previousChecksum: reader.previousChecksum)
    guard case .frame(let frame) = found else { return (.step(step), 0, true) }
    return (.step(step), frame.events.byteCount, false)
  }

  private static func decode(
    _ body: [UInt8], _ frame: FrameReader.Frame, _ lendsSets: Bool
  ) -> Found {
    do throws(FormatError) {
      return .frame(
        Frame(read: frame, events: try FrameEvents(body, frame.header, lendsSets: lendsSets)))
    } catch {
      return .undecodable(error)
    }
  }
}
