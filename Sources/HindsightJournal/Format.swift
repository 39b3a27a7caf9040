// The on-disk contract, versions 1 and 2. A change needs a new version; old versions stay readable,
// and golden journals in Fixtures prove it. All fixed numbers are little-endian. A varint is LEB128,
// at most 10 bytes. CRC means zlib's CRC-32.
//
// The versions differ in compression only; both have raw deflate without header (RFC 1951). Version
// 1: each body and block is a stream of its own. Version 2, which is what is written: runs. A segment
// or checkpoint has the version that its header says, its frames included; segments and checkpoints
// of both may stand side by side.
//
// DIRECTORY
//   00000001.journal      segments, numbered without holes, from 1; retention removes the oldest
//   00000001.checkpoint   checkpoints, numbered for themselves
//   *.tmp                 unfinished; removed at the next opening
//   *.quarantine          what a recovery cut off the journal; kept for people
//   lock                  held with flock(2); holds the holder's process id
//   store.sqlite          the store tier, and SQLite's own files beside it
//   store.sqlite.quarantine-N  a store that was put aside
//
// SEGMENT = segment header, frames, then zeros (space allocated ahead) or the file's end.
// Segments appear by write, sync, rename, directory sync: a bad header is damage, never a tear.
// A segment ends where its successor continues; what it holds beyond is void.
//
//   offset size  segment header
//   0      8     magic "HINDSEG1"
//   8      4     version
//   12     4     segment number
//   16     16    journal id, high half first
//   32     8     salt, random: every frame of the segment repeats it
//   40     8     follows: the sequence after which this segment continues (0: from the beginning)
//   48     8     created at, µs since 1970
//   56     4     zero
//   60     4     CRC of bytes 0..<60
//
// FRAME = frame header, body. A frame holds whole decisions.
//
// RUN = frames whose compressed bodies are one deflate stream, flushed (Z_SYNC_FLUSH) at each body's
// end and never ended: a body refers back to those before it. The four bytes 00 00 FF FF with which
// each flush ends are left out. Frames stored as they are may stand in between. A run begins at a
// segment's first frame at the latest, at the first frame behind a checkpoint's place, and where
// the run before it has 512 KiB before compression; so that is what a damaged body may take with it, and
// what a reader decodes in vain to begin in the middle. The bodies of a run, each followed by those four
// bytes, are what a raw inflate reads.
//
//   offset size  frame header
//   0      4     magic "HFRM"
//   4      1     version
//   5      1     flags: bit 0 = the body is compressed; bit 1 (version 2) = it continues a run;
//                others zero
//   6      2     zero
//   8      4     body length as stored, at most 64 MiB
//   12     4     body length before compression, at most 64 MiB
//   16     4     number of events, at least 1
//   20     4     CRC of the body as stored
//   24     8     sequence of the first event
//   32     8     durable sequence when the frame was cut
//   40     8     boot time of the frame's last event, µs
//   48     8     the segment's salt
//   56     4     CRC of the previous frame's header; for the first one, of the segment's header
//   60     4     CRC of bytes 0..<60
//
// BODY = events. Sequences count up from the header's. An event is its tag, one byte, then the
// varint by which its `at` exceeds the previous event's (the first one's: 0), then:
//
//   1  opened       limits: memory entries, memory bytes + 1 or 0, store entries or 0, store bytes
//                   + 1 or 0; memory TTL, store TTL (µs); access log; format version; boot id
//                   (8 bytes); software version (text)
//   2  closed       1 if clean
//   3  set          coder (1 byte), memory expiry, store expiry, key (bytes), value (bytes)
//   4  set, reason  as 3, then the reason (text)
//   5  invalidated  origin, reason
//   6  invalidated  key (bytes), reason: nothing was there
//   7  cleared      prefix (bytes), reason, memory count, store count
//   8  expired      tier, origin
//   9  evicted      tier + 2 × cause, origin
//   10 promoted     origin, memory expiry
//   11 touched      count, origins
//   12 looked up    outcome, origin
//   13 looked up    outcome, key (bytes)
//   14 recovered    cause, segment, byte offset, byte count
//   15 gap          cause, first, number of sequences; must be a frame's first event, whose own
//                   sequence is the one after the gap; where events were lost while the cache went
//                   on, a checkpoint at the gap's last sequence bridges it
//
// Numbers are varints unless said otherwise. An origin is given as the event's own sequence minus
// it. An expiry is 0 for none, else how far it lies after the event's `at`, plus 1. Bytes and text
// are a varint length and the bytes; a reason is length + 1, or 0 for none. Text is UTF-8.
//
// CHECKPOINT = checkpoint header, blocks, an empty block.
//
//   offset size  checkpoint header
//   0      8     magic "HINDCKP1"
//   8      4     version
//   12     4     checkpoint number
//   16     16    journal id
//   32     8     sequence of the state
//   40     8     `at` of the state
//   48     8     digest of the state
//   56     8     number of entries
//   64     4     segment where replay goes on
//   68     4     flags: bit 0 = the last event was `closed`, bit 1 = a configuration follows
//   72     8     byte offset there
//   80     8     boot time of the last frame, µs
//   88     8     first sequence of the gap that the state bridges, 0 for none: the events from there
//                 up to the state's own sequence are not in the journal
//   96     4     CRC of the header of the frame before that place, 0 where not known (version 2)
//   100    24    zero
//   124    4     CRC of bytes 0..<124
//
//   offset size  block header
//   0      4     length as stored
//   4      4     length before compression, at most 64 MiB; equal to the stored length if there is
//                none. In version 2 each block is a run of its own
//   8      4     CRC of the block as stored; of bytes 0..<8 for the empty block
//
// The first block holds the configuration as an `opened` event, or nothing. The others hold entries,
// most recent first: key (bytes), sequence of the state minus origin, state's `at` minus set-at,
// coder (1 byte), value length, value hash (8 bytes), memory expiry, store expiry (0 for none, else
// expiry minus set-at plus 1), then 1 and the value, or 0.

import HindsightCore

enum Format {
  static let version: UInt8 = 2
  static let versions: ClosedRange<UInt8> = 1...2
  static let segmentMagic: UInt64 = 0x3147_4553_444E_4948  // "HINDSEG1"
  static let checkpointMagic: UInt64 = 0x3150_4B43_444E_4948  // "HINDCKP1"
  static let frameMagic: UInt32 = 0x4D52_4648  // "HFRM"
  static let segmentHeaderByteCount = 64
  static let frameHeaderByteCount = 64
  static let checkpointHeaderByteCount = 128
  static let blockHeaderByteCount = 12
  /// A frame's body, inflated or stored.
  static let bodyByteCountMax = 64 << 20
  /// A checkpoint's configuration, likewise: an `opened` event, which has 150 bytes at most.
  static let configurationByteCountMax = 4 << 10
  /// Deflate can't do better than 1,032 to 1 (zlib's technical notes): more is a bomb.
  static let deflateRatioMax = 1_032
  /// What a flush ends with (an empty stored block); left out of a body.
  static let flushMarker: [UInt8] = [0, 0, 0xFF, 0xFF]
  /// A run of frames ends when it has so many bytes before compression.
  static let runByteCount = 512 << 10
  /// Bodies below this are stored as they are.
  static let compressedByteCountMin = 48
  /// A body that doesn't get smaller is stored as it is from this size on.
  static let incompressibleByteCountMin = 1_024
  /// A larger buffer of the compressor is given back after use.
  static let scratchByteCountMax = 2 << 20
  /// A checkpoint's block is cut at this size.
  static let blockByteCount = 1 << 20
  /// … or behind so many bytes of values, where the next entry has none.
  static let valueBlockByteCountMin = 64 << 10
  /// Zeros are written so far ahead of the frames that are synced one by one …
  static let aheadByteCount: UInt64 = 256 << 10
  /// … where fewer than so many are left.
  static let aheadByteCountMin: UInt64 = 64 << 10
  static let sequenceMax: UInt64 = 1 << 62
  /// A journal is written only below this: what a hostile one claims must leave room for what
  /// follows.
  static let sequenceMaxForWriting: UInt64 = 1 << 61
  /// Segments and checkpoints have lower numbers; files with others are not ours.
  static let fileNumberMax: UInt32 = 1 << 31
  /// No file of a journal is as long.
  static let fileByteCountMax: UInt64 = 1 << 40
}

/// The format version that this software writes.
public let journalFormatVersion: UInt8 = Format.version
