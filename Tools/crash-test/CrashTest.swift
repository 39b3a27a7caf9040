import ArgumentParser
import Foundation
import HindsightTesting

/// Kills `hindsight exec` at random moments, at every failpoint, on a full disk, and with the power
/// going, and checks each time that everything acknowledged is there.
@main
struct CrashTest: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "crash-test",
    abstract: "Kill real processes, and check what they acknowledged.",
    discussion: """
      Each part drives 'hindsight exec' through its pipes, with all acknowledgement levels and
      several writers, ends it in some way, opens the cache again, and checks: every acknowledged
      value is there, what was invalidated is absent, what is there is a prefix of what was asked
      for, nothing is served past its TTL, both limits hold, 'verify' passes beside the process.

        random       SIGKILL at any moment: at work, while it recovers, while it closes
        failpoints   SIGKILL, errors and delays at every named place, at several passages
        power        SIGKILL with what was not synced taken back (LD_PRELOAD)
        interrupts   EINTR and short reads and writes at random (LD_PRELOAD)
        disk         a file system that fills up and becomes free again (tmpfs, or RLIMIT_FSIZE)

      Exit code 1 where something was lost; the directory is kept then. Exit code 2 where nothing
      was, but not all that was asked for was tested: a part that was named can't run here, a
      failpoint never fired, nothing acknowledged was checked. Moments are not repeatable,
      everything else follows from the seed.

      Example: crash-test --kills 2000 --seed 7
      """)

  @Option(help: "Random SIGKILLs; the other parts are sized by it.")
  var kills = 200

  @Option(help: "Repeat all parts, with the seeds that follow, for so long.")
  var minutes: Double?

  @Option(help: "Decides setups, operations and values.")
  var seed: UInt64 = .random(in: 1...1_000_000)

  @Option(
    help: "The parts to run, separated by commas; without it, all that can run on this machine.")
  var parts: String?

  @Option(help: "The passages at which each failpoint fires, separated by commas.")
  var passages = "1,2,5,20"

  @Option(help: "Only failpoints that begin like this.")
  var failpoint = ""

  @Option(help: "The program to kill; the one beside this by default.", completion: .file())
  var hindsight: String?

  @Option(help: "Where directories are made.", completion: .directory)
  var scratch = FileManager.default.temporaryDirectory.path

  @Flag(help: "Print the names of all failpoints.")
  var listFailpoints = false

  @Flag(name: .long, help: "Print JSON instead of text.")
  var json = false

  enum PartName: String, CaseIterable {
    case random, failpoints, power, interrupts, disk
  }

  func validate() throws {
    guard kills > 0 else { throw ValidationError("--kills: at least 1") }
    guard Failpoints.names.contains(where: { $0.hasPrefix(failpoint) }) else {
      throw ValidationError("no failpoint begins with \(failpoint); see --list-failpoints")
    }
  }

  func run() throws {
    if listFailpoints {
      for name in Failpoints.names { print(name) }
      return
    }
    signal(SIGPIPE, SIG_IGN)
    let wanted = try wantedParts()
    let lab = try Laboratory(
      executable: try executable(), scratch: scratch, seed: seed, kills: kills,
      passages: try wantedPassages(), failpoint: failpoint)
    let deadline = minutes.map { ContinuousClock.now + .seconds($0 * 60) }
    var seed = seed
    repeat {
      for part in wanted where lab.tally.losses == 0 {
        try lab.run(part, seed: seed)
        if !json { print(lab.tally.parts.last!.text) }
        if lab.tally.losses > 0 { lab.tally.again = command(repeating: part, seed: seed) }
      }
      seed &+= 1
    } while lab.tally.losses == 0 && deadline.map { ContinuousClock.now < $0 } ?? false
    lab.tally.findGaps(mayRunElsewhere: parts == nil)
    lab.end()
    print(json ? try lab.tally.json : lab.tally.text)
    if lab.tally.losses > 0 { throw ExitCode(1) }
    if !lab.tally.gaps.isEmpty { throw ExitCode(2) }
  }

  private func command(repeating part: PartName, seed: UInt64) -> String {
    let place = hindsight.map { " --hindsight \($0)" } ?? ""
    let only = failpoint.isEmpty ? "" : " --failpoint \(failpoint)"
    return "crash-test --seed \(seed) --parts \(part.rawValue) --kills \(kills) "
      + "--passages \(passages) --scratch \(scratch)" + only + place
  }

  private func wantedParts() throws -> [PartName] {
    guard let parts else { return PartName.allCases }
    let wanted = try parts.split(separator: ",").map {
      guard let part = PartName(rawValue: String($0)) else {
        throw ValidationError("there is no part \($0)")
      }
      return part
    }
    guard !wanted.isEmpty else { throw ValidationError("--parts names none") }
    return wanted
  }

  private func wantedPassages() throws -> [Int] {
    let wanted = try passages.split(separator: ",").map {
      guard let passage = Int($0), passage > 0 else { throw ValidationError("--passages: \($0)") }
      return passage
    }
    guard !wanted.isEmpty else { throw ValidationError("--passages names none") }
    return wanted
  }

  private func executable() throws -> String {
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let path =
      hindsight
      ?? URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("hindsight")
      .path
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw ValidationError("\(path) is no program; build it, or name it with --hindsight")
    }
    return path
  }
}
