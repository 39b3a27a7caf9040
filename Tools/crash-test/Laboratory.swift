import Foundation
import HindsightTesting

/// What all parts share: the program, the place, the seed, and what came of it.
final class Laboratory {
  let executable: String
  let scratch: String
  let kills: Int
  let passages: [Int]
  /// Only failpoints that begin like this.
  let failpoint: String
  /// The running part's own, so that a part can be repeated without the others.
  var random = SplitMix64(seed: 0)
  var tally: Tally
  private(set) lazy var shim = Shim(scratch: scratch)
  private var directoryCount = 0

  init(
    executable: String, scratch: String, seed: UInt64, kills: Int, passages: [Int],
    failpoint: String
  ) throws {
    self.executable = executable
    self.scratch = scratch + "/crash-test-\(getpid())"
    self.kills = kills
    self.passages = passages
    self.failpoint = failpoint
    tally = Tally(seed: seed)
    try FileManager.default.createDirectory(
      atPath: self.scratch, withIntermediateDirectories: true)
  }

  func run(_ name: CrashTest.PartName, seed: UInt64) throws {
    let began = ContinuousClock.now
    var part = Tally.Part(name: name.rawValue, seed: seed)
    let number = CrashTest.PartName.allCases.firstIndex(of: name)!
    random = SplitMix64(seed: seed &* 8 &+ UInt64(number))
    do {
      try run(name, &part)
    } catch {
      warn("the directories are kept in \(scratch)")
      throw error
    }
    part.seconds = (ContinuousClock.now - began) / .seconds(1)
    tally.parts.append(part)
  }

  private func run(_ name: CrashTest.PartName, _ part: inout Tally.Part) throws {
    switch name {
    case .random: try runRandomKills(&part)
    case .failpoints: try runFailpoints(&part)
    case .power: try runPowerLosses(&part)
    case .interrupts: try runInterrupts(&part)
    case .disk: try runFullDisk(&part)
    }
  }

  func end() {
    if tally.losses == 0 { remove(scratch) } else { tally.kept = scratch }
  }

  // MARK: For the parts

  func session(_ setup: Setup, firmness: Life.Firmness = .written, in parent: String? = nil)
    -> Session
  {
    directoryCount += 1
    return Session(
      executable, "\(parent ?? scratch)/cache-\(directoryCount)", setup, firmness: firmness,
      seed: random.next())
  }

  /// Whether the part should go on: nothing is lost so far.
  func isSound(_ session: Session, _ part: inout Tally.Part, _ context: String) -> Bool {
    guard !session.problems.isEmpty else { return true }
    part.problems += session.problems.count
    tally.problems += session.problems.prefix(10)
    tally.places.append(
      """
      \(session.problems.count) problems in part \(part.name), \(context), in \(session.directory)
          opened with \(session.setup.arguments.joined(separator: " "))
      """)
    return false
  }

  func countFirings(_ errors: String) -> Int {
    var count = 0
    for line in errors.split(separator: "\n") where line.hasPrefix("failpoint ") {
      tally.firings[String(line.split(separator: " ")[1]), default: 0] += 1
      count += 1
    }
    return count
  }

  func remove(_ path: String) {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      warn("\(path) can't be removed: \(error)")
    }
  }

  func warn(_ message: String) { FileHandle.standardError.write(Data((message + "\n").utf8)) }
}
