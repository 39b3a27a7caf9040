// See HindsightCore/SanitizedMutex.swift.

#if HINDSIGHT_TSAN
  import HindsightCore

  /// Shadows `Synchronization.Mutex` in this module.
  typealias Mutex = SanitizedMutex
#endif
