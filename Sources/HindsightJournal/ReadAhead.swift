import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Elements that a thread of its own produces ahead of who takes them, in their order.
///
/// A replay has two halves of about the same cost: reading, decompressing and decoding, and applying.
/// This puts them on two cores, and changes nothing else: the same elements come in the same order,
/// errors among them. What waits is bounded by its cost, as the producer states it. Where the producer is the
/// slower one, it may leave to who takes an element a part of what that needs (`isAwaited`).
final class ReadAhead<Element: Sendable>: Sendable {
  /// An element, what it costs to keep, and whether it is the last one.
  typealias Produced = (element: Element, cost: Int, isLast: Bool)

  // Proof of Sendable: the pthread objects are made for sharing, and outlive the thread, which is joined.
  private nonisolated(unsafe) let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(
    capacity: 1)
  private nonisolated(unsafe) let hasElement = UnsafeMutablePointer<pthread_cond_t>.allocate(
    capacity: 1)
  private nonisolated(unsafe) let hasRoom = UnsafeMutablePointer<pthread_cond_t>.allocate(
    capacity: 1)
  private let costMax: Int
  // Proof of Sendable: it is run by the one thread only.
  private nonisolated(unsafe) let produce: (ReadAhead?) -> Produced
  /// Elements that are produced and that nobody has asked for yet.
  private let backlog = Atomic(0)
  // Proof of Sendable: these are touched only with `mutex` held.
  private nonisolated(unsafe) var waiting: [Produced] = []
  private nonisolated(unsafe) var cost = 0
  private nonisolated(unsafe) var isStopped = false
  // Proof of Sendable: these belong to who made this object, who also calls `next` and `stop`.
  private nonisolated(unsafe) var taken: [Produced] = []
  private nonisolated(unsafe) var thread: JoinableThread?

  /// Starts producing. Call `stop` in any case when done.
  /// - Parameter produce: gives the next element, as it is wanted here; not called any more after the last one.
  /// - Returns: `nil` where the system gives no thread; `produce` was not called then.
  init?(costMax: Int, produce: @escaping (ReadAhead?) -> Produced) {
    self.costMax = costMax
    self.produce = produce
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(hasElement, nil)
    pthread_cond_init(hasRoom, nil)
    thread = JoinableThread { [self] in run() }
    if thread == nil { return nil }
  }

  deinit {
    precondition(thread == nil, "reading ahead must be stopped")
    pthread_cond_destroy(hasRoom)
    pthread_cond_destroy(hasElement)
    pthread_mutex_destroy(mutex)
    hasRoom.deallocate()
    hasElement.deallocate()
    mutex.deallocate()
  }

  /// The next element; waits for it. Not to be called any more after the last one.
  func next() -> Element {
    if taken.isEmpty { takeAll() }
    backlog.subtract(1, ordering: .relaxed)
    return taken.removeLast().element
  }

  /// Whether who takes the elements has been given the last one already: it would wait for the next one.
  var isAwaited: Bool { backlog.load(ordering: .relaxed) <= 0 }

  /// Ends the production, and waits until the thread is gone.
  func stop() {
    guard let thread else { return }
    pthread_mutex_lock(mutex)
    isStopped = true
    pthread_cond_signal(hasRoom)
    pthread_mutex_unlock(mutex)
    thread.join()
    self.thread = nil
  }

  /// All that waits at once: a lock and a wake-up for many elements, not for each.
  private func takeAll() {
    pthread_mutex_lock(mutex)
    while waiting.isEmpty { pthread_cond_wait(hasElement, mutex) }
    swap(&waiting, &taken)
    cost = 0
    pthread_cond_signal(hasRoom)
    pthread_mutex_unlock(mutex)
    taken.reverse()
  }

  private func run() {
    while true {
      let produced = produce(self)
      pthread_mutex_lock(mutex)
      while cost > costMax, !isStopped { pthread_cond_wait(hasRoom, mutex) }
      let isDone = produced.isLast || isStopped
      waiting.append(produced)
      cost += produced.cost
      backlog.add(1, ordering: .relaxed)
      pthread_cond_signal(hasElement)
      pthread_mutex_unlock(mutex)
      if isDone { return }
    }
  }
}

/// A thread that runs a body once.
final class JoinableThread {
  /// A seam, so that a test can decide that the system gives none.
  @TaskLocal static var isRefused = false

  private var thread = pthread_t()

  /// What the thread gets.
  private final class Body {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
  }

  /// - Returns: `nil` where the system gives no further thread.
  init?(_ body: @escaping () -> Void) {
    if Self.isRefused { return nil }
    let owned = Unmanaged.passRetained(Body(body))
    let result = pthread_create(
      &thread, nil,
      { raw in
        // Balances the retain above: the thread owns the body.
        Unmanaged<Body>.fromOpaque(raw!).takeRetainedValue().run()
        return nil
      }, owned.toOpaque())
    guard result == 0 else {
      owned.release()
      return nil
    }
  }

  /// Waits until the body has returned. To be called exactly once.
  func join() { pthread_join(thread, nil) }
}
