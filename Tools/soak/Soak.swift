import ArgumentParser
import Foundation
import Hindsight
import HindsightReplay
import HindsightTesting

/// Everything at full speed for minutes, with the limits watched.
@main
struct Soak: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Read, write, expire, rotate and drop history at full speed, and watch the limits.",
    discussion: """
      Several tasks use one cache on a real directory: sets with short and long TTLs, hits of both
      tiers, misses, invalidations, clears, cleanups. Segments are small, so that rotation,
      checkpoints and retention happen all the time. Memory, descriptors, threads, pins, queues,
      the journal and the store's log are measured throughout and held against limits, which are
      printed with where they come from. Values read are checked, the journal is verified at the
      end. Exit code 1 where a limit was exceeded or a check failed.

      Example: soak --minutes 5 --seed 3
      """)

  @Option(help: "How long.")
  var minutes = 1.0

  @Option(help: "Decides keys, values and operations; their interleaving is the machine's.")
  var seed: UInt64 = .random(in: 1...1_000_000)

  @Option(help: "Tasks at work.")
  var tasks = 8

  @Option(help: "The cache's directory; else a temporary one, removed if all went well.")
  var cache: String?

  @Flag(name: .long, help: "Print JSON instead of text.")
  var json = false

  func run() async throws {
    let directory =
      cache ?? FileManager.default.temporaryDirectory.path + "/hindsight-soak-\(getpid())"
    let load = Load(seed: seed, tasks: tasks)
    var report = try await load.run(at: directory, for: .seconds(minutes * 60))
    report.check(try Verification.problems(in: directory))
    if cache == nil, report.isSound { try FileManager.default.removeItem(atPath: directory) }
    print(json ? try report.json : report.text)
    if !report.isSound {
      FileHandle.standardError.write(
        Data(
          """
          again: soak --minutes \(minutes) --seed \(seed) --tasks \(tasks)
          the cache is kept in \(directory)

          """.utf8))
      throw ExitCode(1)
    }
  }
}
