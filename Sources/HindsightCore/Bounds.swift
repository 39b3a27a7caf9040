/// The bounds on what callers and files may hand us. Everything that is bounded is bounded here.
public enum Bounds {
  /// Keys are 1 to 1,024 UTF-8 bytes (S040).
  public static let keyByteCountMax = 1_024
  /// Encoded values are at most 16 MiB (S042).
  public static let valueByteCountMax = 16 << 20
  /// Reasons are at most 256 UTF-8 bytes.
  public static let reasonByteCountMax = 256
  /// The software version that `opened` names is at most this long.
  public static let softwareVersionByteCountMax = 64
  /// Entries an index can hold: slots are 32-bit, and where one stands in the order of expiries takes
  /// one of the bits.
  public static let entryCountMax = UInt64(1 << 31) - 2
  /// The latest expiry and the longest TTL: 2^53 µs, about 285 years, exact in a `Double`.
  @inlinable public static var ttlMax: Microseconds { Microseconds(rawValue: 1 << 53) }
  /// So many touched entries are told at once, and up to a full log of hits more. More than a memory
  /// tier of the default size has: its hits are told once for each frame.
  public static let untoldCountMax = 1_536
  /// Removing an entry takes as long as making so many empty cells of a new index.
  static let cellsPerRemoval = 1_024
  /// A clear by prefix goes through all slots where there are no more of them for each entry than this: going
  /// from entry to entry by the list takes about so much longer.
  static let slotsPerEntry = 16
  /// Evictions, expiries or touches that one decision may make before it is cut into another.
  public static let eventsPerSlice = 1_024
  /// So many entries does one event tell the order of, where it is told for all: 10 MiB of a frame's 64 at
  /// most.
  public static let originsPerEvent = 1 << 20
}
