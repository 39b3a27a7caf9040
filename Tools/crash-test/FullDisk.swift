import Foundation
import HindsightTesting

extension Laboratory {
  /// A disk that fills up while the process writes, and has room again later: while the process
  /// lives, or after it was killed.
  func runFullDisk(_ part: inout Tally.Part) throws {
    let rounds = max(2, kills / 25)
    let mount = scratch + "/disk"
    try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
    if Glibc.mount("tmpfs", mount, "tmpfs", 0, "size=6m") == 0 {
      defer { unmount(mount) }
      for round in 0..<rounds {
        guard try fill(Tmpfs(mount), in: mount, round, &part) else { return }
      }
      part.note = "on a tmpfs of 6 MiB (\(rounds) times), \(Self.limits(rounds))"
    } else {
      let why = String(cString: strerror(errno))
      part.note = "tmpfs could not be mounted (\(why)); \(Self.limits(rounds))"
    }
    for round in 0..<rounds where Self.limitsFiles {
      guard try fill(FileSizeLimit(), in: nil, round, &part) else { return }
    }
  }

  /// What a loss left on it stays in the same place.
  private func unmount(_ mount: String) {
    let files = FileManager.default
    do {
      try files.copyItem(atPath: mount, toPath: mount + ".kept")
      umount2(mount, Int32(MNT_DETACH))
      try files.removeItem(atPath: mount)
      try files.moveItem(atPath: mount + ".kept", toPath: mount)
    } catch {
      warn("\(mount) stays mounted: \(error)")
    }
  }

  private static func limits(_ rounds: Int) -> String {
    limitsFiles
      ? "with RLIMIT_FSIZE (\(rounds) times)"
      : "without RLIMIT_FSIZE, which the thread sanitizer's own files don't survive"
  }

  #if HINDSIGHT_TSAN
    private static let limitsFiles = false
  #else
    private static let limitsFiles = true
  #endif

  private func fill(
    _ disk: some SmallDisk, in parent: String?, _ round: Int, _ part: inout Tally.Part
  ) throws -> Bool {
    var setup = Setup(using: &random)
    setup.segmentBytes = 64 << 10
    setup.retentionBytes = nil
    setup.storeEntries = 100
    setup.memoryEntries = setup.usesStore ? 10 : 100
    let session = session(
      setup, firmness: setup.continuesInMemory ? .durable : .written, in: parent)
    try session.live(Plan(operations: 200), &part)
    disk.fill()
    let isFreedAlive = round % 2 == 0
    let watch = DiskWatch(disk, freesWhileAlive: isFreedAlive)
    let life = try session.live(watch.plan, &part, mayRefuse: true, hasFaults: true) { life in
      life.onTick = watch.tick
    }
    if isFreedAlive, let problem = watch.problem {
      session.report("\(problem): \(life.lastRefusal)")
    }
    // Killed on a full disk: opening may be refused, but must lose nothing.
    if !isFreedAlive, session.problems.isEmpty {
      try session.live(Plan(operations: 20), &part, mayRefuse: true, hasFaults: true) { life in
        disk.limit(life.processID)
      }
    }
    disk.free()
    try session.live(Plan(operations: 50), &part)
    guard isSound(session, &part, "round \(round)") else { return false }
    remove(session.directory)
    return true
  }
}

/// A disk whose room a test decides.
protocol SmallDisk {
  /// Leaves little room.
  func fill()
  /// Gives it back, to a process that lives, too.
  func free()
  /// For a process that has begun.
  func limit(_ process: pid_t)
  /// Gives a living process room again.
  func free(_ process: pid_t)
}

/// A file system of a few MiB, filled with a file.
private struct Tmpfs: SmallDisk {
  private let ballast: String

  init(_ mount: String) { ballast = mount + "/ballast" }

  func fill() {
    let descriptor = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    // As much as there is, but for a MiB.
    let block = [UInt8](repeating: 1, count: 1 << 16)
    while write(descriptor, block, block.count) == block.count {}
    var status = stat()
    fstat(descriptor, &status)
    ftruncate(descriptor, max(0, status.st_size - (1 << 20)))
    close(descriptor)
  }

  func free() { unlink(ballast) }
  func limit(_ process: pid_t) {}
  func free(_ process: pid_t) { free() }
}

/// RLIMIT_FSIZE: no file may grow beyond so many bytes.
private struct FileSizeLimit: SmallDisk {
  func fill() {}
  func free() {}
  func limit(_ process: pid_t) { set(process, 40 << 10) }
  func free(_ process: pid_t) { set(process, rlim_t.max) }

  private func set(_ process: pid_t, _ bytes: rlim_t) {
    var limit = rlimit(rlim_cur: bytes, rlim_max: rlim_t.max)
    _ = Self.prlimit(process, Int32(RLIMIT_FSIZE.rawValue), &limit, nil)
  }

  /// Glibc's module leaves out what is GNU's own (prlimit(2)).
  private static let prlimit: Prlimit = unsafeBitCast(dlsym(nil, "prlimit")!, to: Prlimit.self)
  private typealias Prlimit =
    @convention(c) (
      pid_t, Int32, UnsafePointer<rlimit>?, UnsafeMutablePointer<rlimit>?
    ) -> Int32
}

/// Watches a process on a disk that fills up.
private final class DiskWatch {
  private let disk: any SmallDisk
  private let freesWhileAlive: Bool
  private var freedAt: Int64?
  private let startedAt = Life.now()

  init(_ disk: any SmallDisk, freesWhileAlive: Bool) {
    self.disk = disk
    self.freesWhileAlive = freesWhileAlive
  }

  private(set) var hasResumed = false
  private var fullAt: Int64?
  private var isLimited = false

  var plan: Plan {
    var plan = Plan(operations: .max)
    plan.window = 16
    // Whatever happens, it ends.
    plan.killAfterMilliseconds = 25_000
    return plan
  }

  var problem: String? {
    guard freedAt != nil, !hasResumed else { return nil }
    return "the disk had room again, and after 20 s writes were still refused"
  }

  /// Full for a while, then either killed or given room, and killed once writes are accepted again.
  func tick(_ life: Life) {
    if !isLimited { disk.limit(life.processID) }
    isLimited = true
    guard life.refusedOperations > 0 else { return }
    let now = Life.now()
    let fullAt = fullAt ?? now
    self.fullAt = fullAt
    usleep(1_000)  // refusals are fast
    guard let freedAt else {
      // What goes on in memory is refused once a second only: what should be durable.
      guard life.refusedOperations > 200 || now - fullAt > 2_500_000_000 else { return }
      guard freesWhileAlive else { return life.killNow() }
      disk.free(life.processID)
      freedAt = Life.now()
      return
    }
    if life.lastWriteAt > freedAt + 50_000_000 {
      hasResumed = true
      life.killNow()
    }
  }
}
