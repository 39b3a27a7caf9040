// Only for builds under the thread sanitizer (Tools/sanitize.sh); other builds have none of this.
//
// Synchronization.Mutex is a futex on Linux whose slow path is inside a library that isn't
// instrumented, so the sanitizer doesn't see that it orders anything, and reports every access to
// what it guards as a race. Here the same mutex tells the sanitizer what it does. Each module that
// uses `Mutex` shadows it by this one, in the file SanitizedMutex.swift of its own.

#if HINDSIGHT_TSAN
  import Synchronization

  /// `Synchronization.Mutex`, known to the thread sanitizer.
  package struct SanitizedMutex<Value: ~Copyable>: ~Copyable, Sendable {
    private let mutex: Mutex<Value>
    /// An address by which the sanitizer knows the mutex; a struct has none that lasts. Never written
    /// through.
    nonisolated(unsafe) private let name = UnsafeMutableRawPointer.allocate(
      byteCount: 8, alignment: 8)

    package init(_ value: consuming sending Value) {
      mutex = Mutex(value)
      createMutex(name, 0)
    }

    deinit {
      destroyMutex(name, 0)
      name.deallocate()
    }

    package borrowing func withLock<Result: ~Copyable, Failure: Error>(
      _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
      try mutex.withLock { (value) throws(Failure) -> sending Result in
        willLock(name, 0)
        didLock(name, 0, 0)
        defer {
          willUnlock(name, 0)
          didUnlock(name, 0)
        }
        return try body(&value)
      }
    }
  }

  // sanitizer/tsan_interface.h
  @_silgen_name("__tsan_mutex_create")
  private func createMutex(_ address: UnsafeMutableRawPointer, _ flags: UInt32)
  @_silgen_name("__tsan_mutex_destroy")
  private func destroyMutex(_ address: UnsafeMutableRawPointer, _ flags: UInt32)
  @_silgen_name("__tsan_mutex_pre_lock")
  private func willLock(_ address: UnsafeMutableRawPointer, _ flags: UInt32)
  @_silgen_name("__tsan_mutex_post_lock")
  private func didLock(_ address: UnsafeMutableRawPointer, _ flags: UInt32, _ recursion: Int32)
  @_silgen_name("__tsan_mutex_pre_unlock") @discardableResult
  private func willUnlock(_ address: UnsafeMutableRawPointer, _ flags: UInt32) -> Int32
  @_silgen_name("__tsan_mutex_post_unlock")
  private func didUnlock(_ address: UnsafeMutableRawPointer, _ flags: UInt32)
#endif
