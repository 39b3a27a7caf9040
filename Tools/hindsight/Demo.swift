import ArgumentParser
import Foundation
import Hindsight
import HindsightReplay
import HindsightTesting

struct Demo: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract:
      "The main job on real input: lookups, a kill -9 in the middle, recovery, verification.",
    discussion: """
      Feeds a recorded stream of registry lookups through a cache in a child process, kills that \
      child with SIGKILL in the middle, recovers, continues, closes, verifies the whole journal, \
      and prints what happened. The stream's clock is virtual: 36 hours pass in seconds. Where the \
      cache can't be opened, the exit code is 3, as everywhere.

      Example: hindsight demo --cache /tmp/demo-cache, then: hindsight events /tmp/demo-cache
      """)

  @Option(help: "The recorded lookups; those of the checkout by default.", completion: .file())
  var lookups: String?

  @Option(
    name: .customLong("cache"),
    help: "An empty or new directory to leave the cache in; else it is removed if all went well.",
    completion: .directory)
  var directory: String?

  @OptionGroup var output: OutputOptions

  func run() async throws {
    let path = try lookups ?? Self.findLookups()
    let stream = try read(path)
    try await withCacheDirectory { directory in
      let report = try run(stream, path: path, directory: directory)
      if output.json {
        try Output.line(Output.json(report))
      } else {
        try Output.line(report.text)
        if self.directory != nil { try Output.line("the cache is in \(directory)") }
      }
      guard report.isSound else { throw CheckFailure(message: "demo: a check failed, see above") }
    }
  }

  private func read(_ path: String) throws(ValidationError) -> RecordedLookups {
    let stream: RecordedLookups
    do throws(CacheError) {
      stream = try RecordedLookups(path: path)
    } catch {
      throw ValidationError(error.message)
    }
    guard !stream.lookups.isEmpty else { throw ValidationError("\(path) has no lookups") }
    return stream
  }

  private func run(
    _ stream: RecordedLookups, path: String, directory: String
  ) throws -> DemoReport {
    let total = stream.lookups.count
    let progress = Progress("lookups", total: total)
    let first = try DemoChild(lookups: path, directory: directory, from: 0)
      .run(killingAt: total / 2) { progress.update($0) }
    let second = try DemoChild(lookups: path, directory: directory, from: first.progress.done)
      .run(killingAt: nil) { progress.update($0) }
    progress.end()
    let checking = Progress("verifying, events:")
    let verification = try verification(of: directory) { checking.update($0) }
    checking.end()
    return DemoReport(
      names: stream.answers.count, lookups: total,
      hours: Double(stream.lookups.last?.milliseconds ?? 0) / 3_600_000, killed: first,
      finished: second, verification: verification)
  }

  /// - Throws: `ValidationError` where the directory is none, or not empty; `CacheError.Code.system` where
  ///   it can't be read.
  private func withCacheDirectory(_ body: (String) async throws -> Void) async throws {
    Cleanup.removeAllOnSignal()
    // Where nobody reads the report any more, the temporary directory goes all the same.
    signal(SIGPIPE, SIG_IGN)
    guard let directory else { return try await withTemporaryDirectory(body) }
    try Self.checkEmpty(directory)
    do {
      try await body(directory)
    } catch {
      Cleanup.waitForEnd()
      throw error
    }
  }

  private static func checkEmpty(_ directory: String) throws {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory) else {
      return
    }
    guard isDirectory.boolValue else { throw ValidationError("\(directory) is not a directory") }
    guard let stream = opendir(directory) else {
      throw CacheError(.system, "\(directory) can't be read: \(systemMessage(errno))")
    }
    closedir(stream)
    guard try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty else {
      throw ValidationError("\(directory) is not empty; name a new directory")
    }
  }

  private func withTemporaryDirectory(_ body: (String) async throws -> Void) async throws {
    let temporary = FileManager.default.temporaryDirectory
      .appendingPathComponent("hindsight-demo-\(UUID().uuidString)").path
    Cleanup.add(directory: temporary)
    do {
      try await body(temporary)
    } catch let failure as StreamFailure {
      // Nothing is wrong with the cache.
      Cleanup.removeAll()
      throw failure
    } catch {
      Cleanup.waitForEnd()
      if FileManager.default.fileExists(atPath: temporary) {
        Output.diagnose("the cache is kept in \(temporary)")
      }
      throw error
    }
    Cleanup.removeAll()
  }

  /// The checkout's lookups, from its top directory or from a build inside it.
  private static func findLookups() throws -> String {
    let inside = "Fixtures/lookups/lookups.tsv.gz"
    var directory = URL(fileURLWithPath: CommandLine.executablePath).deletingLastPathComponent()
    var candidates = [inside]
    while directory.path != "/" {
      candidates.append(directory.appendingPathComponent(inside).path)
      directory.deleteLastPathComponent()
    }
    for candidate in candidates where FileManager.default.fileExists(atPath: candidate) {
      return candidate
    }
    throw ValidationError("\(inside) is not here; name a stream with --lookups")
  }
}

extension CommandLine {
  /// This program's file (proc(5)).
  static var executablePath: String {
    do {
      return try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    } catch {
      return arguments[0]
    }
  }
}
