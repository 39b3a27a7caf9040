import Foundation
import HindsightTesting
import Testing

/// What the commands say of damaged caches, and with which exit codes.
@Suite("S040 the command line and damaged caches")
struct DamagedCacheTests {
  /// Three segments with checkpoints, closed with one of the end inside the last segment.
  private func made() throws -> TemporaryDirectory {
    let scratch = try TemporaryDirectory()
    var random = SplitMix64(seed: 3)
    let lines = (0..<84).flatMap { number in
      let noise = Data((0..<4_500).map { _ in UInt8.random(in: 0...255, using: &random) })
      let value = "v\(number)-" + noise.base64EncodedString()
      let set = #"{"op":"set","key":"k:\#(number)","value":"\#(value)"}"#
      // Small frames, so that the segments are equally long each time.
      return number % 4 == 3 ? [set, #"{"op":"settle"}"#] : [set]
    }
    let exec = ["exec", "--cache", scratch.cache, "--segment-bytes", "131072"]
    // The second time writes enough for a checkpoint of the end.
    for part in [lines.prefix(82), lines.dropFirst(82)] {
      #expect(try Command.run(exec, input: Array(part)).status == 0)
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: scratch.cache)
    #expect(names.count { $0.hasSuffix(".journal") } == 3, "\(names)")
    #expect(try Data(contentsOf: url(scratch, "00000003.journal")).count > 80_000)
    #expect(names.count { $0.hasSuffix(".checkpoint") } >= 2, "\(names)")
    return scratch
  }

  private func url(_ scratch: TemporaryDirectory, _ name: String) -> URL {
    URL(fileURLWithPath: scratch.cache + "/" + name)
  }

  private func change(
    _ scratch: TemporaryDirectory, _ name: String, _ body: (inout Data) throws -> Void
  ) throws {
    var bytes = try Data(contentsOf: url(scratch, name))
    try body(&bytes)
    let handle = try FileHandle(forWritingTo: url(scratch, name))
    try handle.truncate(atOffset: 0)
    try handle.write(contentsOf: bytes)
    try handle.close()
  }

  @Test("events of a cache whose last segment is missing: code 1, and which one it is")
  func missingLastSegment() throws {
    let scratch = try made()
    try FileManager.default.removeItem(at: url(scratch, "00000003.journal"))
    let events = try Command.run(["events", scratch.cache])
    #expect(events.status == 1 && !events.output.isEmpty)
    #expect(events.errors.contains("the history ends here: 00000003.journal"), "\(events.errors)")
  }

  @Test("history that stays damaged: verify and repair say that the cache is whole, events go on")
  func damagedHistory() throws {
    let scratch = try made()
    let whole = try Command.run(["events", scratch.cache, "--json"]).lines
    try change(scratch, "00000002.journal") { $0[50_000] ^= 4 }
    let events = try Command.run(["events", scratch.cache, "--json"])
    #expect(events.status == 1 && events.lines.last == whole.last)
    #expect(events.errors.contains(" are missing: 00000002.journal"), "\(events.errors)")
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 1 && verified.output.contains("is not refused"))
    let repaired = try Command.run(["repair", scratch.cache])
    #expect(repaired.status == 0 && repaired.output.hasPrefix("journal clean"))
    #expect(repaired.errors.contains("stays damaged; the cache itself is whole"))
    #expect(repaired.errors.contains("not mended: 00000002.journal"), "\(repaired.errors)")
  }

  @Test("damage that a checkpoint of the end covers: the store is compared, and opening goes on")
  func coveredTail() throws {
    let scratch = try made()
    try change(scratch, "00000003.journal") { $0[5_000] ^= 4 }
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 1)
    #expect(verified.lines.count { $0.hasPrefix("DAMAGE") } == 1, "\(verified.output)")
    #expect(verified.output.contains("84 rows equal"), "\(verified.output)")
    #expect(!verified.output.contains("was not closed"), "\(verified.output)")
    #expect(try Command.run(["count", scratch.cache]).status == 0)
  }

  @Test("a changed row of the store is found by verify and mended by repair")
  func changedRow() throws {
    let scratch = try made()
    try change(scratch, "store.sqlite") { bytes in
      let found = try #require(bytes.range(of: Data(#""v17-"#.utf8)))
      bytes[found.lowerBound + 10] ^= 1
    }
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 1 && verified.output.contains("DAMAGE store.sqlite: row "))
    let repaired = try Command.run(["repair", scratch.cache])
    #expect(repaired.status == 0, "\(repaired.errors)")
    #expect(repaired.output.contains("1 rows deleted, 1 inserted"), "\(repaired.output)")
    let again = try Command.run(["verify", scratch.cache])
    #expect(again.status == 0, "\(again.output)")
  }

  /// Damages the page of the table `meta`: its cell is found where there is none.
  private func damageMeta(_ scratch: TemporaryDirectory) throws {
    try change(scratch, "store.sqlite") { $0[8_200] = 7 }
  }

  @Test("a store whose file is damaged is put aside by repair, and built again from the journal")
  func damagedStore() throws {
    let scratch = try made()
    try damageMeta(scratch)
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 1, "\(verified.output)")
    let repaired = try Command.run(["repair", scratch.cache])
    #expect(repaired.status == 0 && repaired.errors.isEmpty, "\(repaired)")
    #expect(repaired.output.contains("\nstore rebuilt: 0 rows deleted, "), "\(repaired.output)")
    #expect(repaired.output.contains("\nkept aside: store.sqlite.quarantine-1\n"))
    #expect(repaired.output.contains("\ndamage: store.sqlite: "), "\(repaired.output)")
    #expect(access(url(scratch, "store.sqlite.quarantine-1").path, F_OK) == 0)
    let again = try Command.run(["verify", scratch.cache])
    #expect(again.status == 0 && again.output.contains("84 rows equal"), "\(again.output)")
    let second = try Command.run(["repair", scratch.cache, "--json"])
    #expect(second.status == 0)
    #expect((try json(second.output)["quarantined"] as? [Any])?.isEmpty == true, "\(second)")
  }

  @Test(
    "repair says that it has put a store aside, also where the cache can't be opened then",
    .disabled(if: Sanitizer.isThread, "the sanitizer itself needs larger files"))
  func damagedStoreAndNoRoom() throws {
    let scratch = try made()
    try damageMeta(scratch)
    let repaired = try Command(["repair", scratch.cache], limits: "ulimit -f 100").end()
    #expect(repaired.status == 3 && repaired.errors.contains("outOfSpace"), "\(repaired)")
    #expect(repaired.errors.contains("is put aside as store.sqlite.quarantine-1\n"), "\(repaired)")
    #expect(try Command.run(["repair", scratch.cache]).status == 0)
    #expect(try Command.run(["verify", scratch.cache]).output.contains("84 rows equal"))
  }

  @Test(
    "a repair that is refused as wrong usage leaves a damaged store where it is",
    arguments: ["--no-journal", "--memory-entries 0"])
  func damagedStoreAndWrongUsage(options: String) throws {
    let scratch = try made()
    try damageMeta(scratch)
    let arguments = options.split(separator: " ").map(String.init)
    let refused = try Command.run(["repair", scratch.cache] + arguments)
    #expect(refused.status == 2, "\(refused)")
    #expect(access(url(scratch, "store.sqlite.quarantine-1").path, F_OK) != 0)
    #expect(access(url(scratch, "store.sqlite").path, F_OK) == 0)
  }

  @Test("a damaged store that a killed process left is put aside with its log")
  func damagedStoreWithLog() throws {
    let scratch = try TemporaryDirectory()
    let command = try Command(["exec", "--cache", scratch.cache])
    try command.send([#"{"op":"set","key":"a:b","value":1}"#, #"{"op":"settle"}"#])
    #expect(command.receive(2).count == 2)
    kill(command.process.processIdentifier, SIGKILL)
    command.process.waitUntilExit()
    try change(scratch, "store.sqlite-wal") { log in log.replaceSubrange(60..., with: Data()) }
    try change(scratch, "store.sqlite") { database in
      if database.count < 8_201 { database.append(Data(count: 8_201 - database.count)) }
      database[8_200] = 7
    }
    let repaired = try Command.run(["repair", scratch.cache])
    #expect(repaired.status == 0 && repaired.errors.isEmpty, "\(repaired)")
    #expect(repaired.output.contains("store rebuilt"), "\(repaired.output)")
    #expect(try Command.run(["get", scratch.cache, "a:b"]).lines == ["1"])
    #expect(try Command.run(["verify", scratch.cache]).status == 0)
  }

  @Test("without a journal repair leaves a damaged store as it is, and says what to do instead")
  func damagedStoreAlone() throws {
    let scratch = try TemporaryDirectory()
    let exec = ["exec", "--cache", scratch.cache, "--no-journal"]
    #expect(try Command.run(exec, input: [#"{"op":"set","key":"a:b","value":1}"#]).status == 0)
    #expect(try Command.run(["repair", scratch.cache]).status == 0)
    for damage in [damageMeta, { try change($0, "store.sqlite") { $0[5] = 0 } }] {
      try damage(scratch)
      let before = try Data(contentsOf: url(scratch, "store.sqlite"))
      let repaired = try Command.run(["repair", scratch.cache])
      #expect(repaired.status == 1 && repaired.output.isEmpty, "\(repaired)")
      #expect(repaired.errors.contains("damage: ") && repaired.errors.contains(" .recover; then"))
      #expect(try Data(contentsOf: url(scratch, "store.sqlite")) == before)
      let names = try FileManager.default.contentsOfDirectory(atPath: scratch.cache)
      #expect(!names.contains { $0.contains("quarantine") }, "\(names)")
    }
  }

  @Test("repair leaves a cache alone that somebody else has open")
  func repairLocked() throws {
    let scratch = try made()
    let holder = try Command(["exec", "--cache", scratch.cache])
    try holder.send([#"{"op":"count"}"#])
    #expect(holder.receive(1).count == 1)
    let repaired = try Command.run(["repair", scratch.cache])
    #expect(repaired.status == 3 && repaired.errors.contains("locked: "), "\(repaired)")
    #expect(try holder.end().status == 0)
  }

  @Test("checkpoints without segments are damage, not nothing")
  func noSegments() throws {
    let scratch = try made()
    for number in 1...3 {
      try FileManager.default.removeItem(at: url(scratch, "0000000\(number).journal"))
    }
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 1, "\(verified.errors)")
    #expect(verified.output.contains("there are checkpoints, but no segment"))
    #expect(try Command.run(["events", scratch.cache]).status == 1)
  }

  @Test("verify says that there is no store, where there should be one")
  func noStore() throws {
    let scratch = try made()
    #expect(!(try Command.run(["verify", scratch.cache]).output.contains("note: ")))
    try FileManager.default.removeItem(at: url(scratch, "store.sqlite"))
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 0 && verified.output.contains("note: there is no store"))
  }

  @Test(
    "a file that can't be read is no damage: code 3, with file and cause",
    .enabled(if: geteuid() != 0),
    arguments: ["00000001.journal", "00000002.checkpoint", "lock", "store.sqlite"])
  func unreadable(name: String) throws {
    let scratch = try made()
    #expect(chmod(url(scratch, name).path, 0) == 0)
    let verified = try Command.run(["verify", scratch.cache])
    #expect(verified.status == 3 && !verified.output.contains("DAMAGE"), "\(verified.output)")
    #expect(verified.errors.contains("system: ") && verified.errors.contains(name))
    if name == "store.sqlite" { return }
    let events = try Command.run(["events", scratch.cache])
    #expect(events.status == 3 && events.errors.contains(name), "\(events.errors)")
  }
}
