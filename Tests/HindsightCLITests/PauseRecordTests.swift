import Synchronization
import Testing

@testable import HindsightCLI

/// What `bench --pauses` says about its own hits.
@Suite("Benchmark: pauses")
struct PauseRecordTests {
  private final class Host: Sendable {
    let stolen = Mutex(Duration.zero)
  }

  private func record(_ host: Host) -> PauseRecord {
    PauseRecord { host.stolen.withLock { $0 } }
  }

  @Test("a hit while the host takes a processor away isn't one of a thread that was running")
  func stolen() {
    let host = Host()
    var record = record(host)
    record.add(.microseconds(50))
    record.look()
    record.add(.microseconds(70))
    host.stolen.withLock { $0 = .milliseconds(20) }
    record.look()
    record.add(.microseconds(60))
    record.look()
    #expect(record.longest == 70_000)
    #expect(record.longestRunning == 60_000)
    #expect(record.stolen == .milliseconds(20))
  }

  @Test("where the host takes processors away all the time, no hit counts as running")
  func alwaysStolen() {
    let host = Host()
    var record = record(host)
    for _ in 0..<3 {
      record.add(.microseconds(50))
      host.stolen.withLock { $0 += .milliseconds(10) }
      record.look()
    }
    #expect(record.longest == 50_000)
    #expect(record.longestRunning == nil)
  }

  @Test("what was stolen is looked at every tenth of a second")
  func interval() {
    let host = Host()
    var record = record(host)
    host.stolen.withLock { $0 = .milliseconds(10) }
    let haveLooked = [99_999, 1, 99_999].map { record.add(.microseconds($0)) }
    #expect(haveLooked == [false, true, false])
    #expect(record.stolen == .milliseconds(10))
  }

  @Test("stolen time is the eighth number of the first line of /proc/stat")
  func format() {
    let text = "cpu  10 20 30 40 50 60 70 87 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
    #expect(StolenTime.ofFirstLine(text) == 87)
    #expect(StolenTime.ofFirstLine("cpu  10 20 30 40\n") == nil)
    #expect(StolenTime.ofFirstLine("intr 1 2 3 4 5 6 7 8 9\n") == nil)
    #expect(StolenTime.ofFirstLine("") == nil)
  }
}
