import ArgumentParser
import Foundation
import Hindsight
import HindsightJournal
import HindsightReplay

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check a cache's journal and store, beside a writer if need be.",
    discussion: """
      Checks every checksum, contiguous sequences, non-decreasing time, INV016 (TTLs) and INV017 \
      (limits) wherever an event could break them, checkpoint digests against the replayed state, and the store's \
      rows against the projection at its applied sequence. Changes nothing. Exit code 1 if \
      something is wrong, 3 if there is no journal, or something can't be read.

      The journal may be a stranger's: what it can make this command use is limited to some \
      gigabytes of memory, and to some minutes beyond what a journal of its size takes. --no-limits \
      is for larger ones that you trust.

      Example: hindsight verify /tmp/cache
      """)

  @Argument(help: "The cache's directory.", completion: .directory)
  var directory: String

  @Flag(name: .long, help: "Take any amount of memory and time: for a journal that you trust.")
  var noLimits = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    let progress = Progress("verifying, events:")
    let limits = noLimits ? ReplayLimits.none : ReplayLimits()
    let result = try verification(of: directory, limits: limits) { progress.update($0) }
    progress.end()
    if output.json {
      try Output.line(Output.json(result))
    } else {
      try show(result)
    }
    // What can't be read may be whole.
    if let failure = result.failure { throw CacheError(.system, failure.message) }
    if !result.isSound { throw CheckFailure(message: "") }
  }

  private func show(_ result: Verification) throws {
    for problem in result.problems {
      let kind = problem.isFailure ? "UNREADABLE" : "DAMAGE"
      try Output.line("\(kind) \(Output.printable(problem.text))")
    }
    if result.omittedProblems > 0 { try Output.line("DAMAGE … and \(result.omittedProblems) more") }
    for note in result.notes { try Output.line("note: \(Output.printable(note))") }
    let isUnknown = result.problems.allSatisfy(\.isFailure)
    try Output.line(
      """
      \(result.isSound ? "ok" : isUnknown ? "can't tell" : "NOT ok"): \(result.events) events \
      (\(result.firstSequence) to \(result.lastSequence)) in \(result.frames) frames and \
      \(result.segments) segments
      INV016 held at \(result.ttlChecks) checks of TTLs, INV017 at \(result.limitChecks) checks of \
      limits
      \(result.checkpoints) checkpoints whole, \(result.checkpointsReplayed) equal to the \
      replayed state; \(result.rows) rows equal to the projection\
      \(result.storeApplied.map { " at event \($0)" } ?? "")
      digest \(result.digest)
      """)
  }
}

extension Verification.Problem {
  /// As a line for people.
  var text: String { "\(file)\(offset.map { ", offset \($0)" } ?? ""): \(message)" }
}

/// Verifies the cache in a directory.
/// - Throws: `CacheError.Code.system` where there is no journal.
func verification(
  of directory: String, limits: ReplayLimits = ReplayLimits(),
  progress: @escaping (Int) -> Void = { _ in }
) throws -> Verification {
  _ = try readOnlyStorage(directory)
  do throws(DamageError) {
    return try Verifier(directory: directory, limits: limits).run(progress: progress)
  } catch {
    throw error.storageFailure.map(CacheError.init(storage:)) ?? CacheError(.system, "\(error)")
  }
}

/// The storage of a directory that must be there already, with a journal in it, or what is left of one.
func readOnlyStorage(_ directory: String) throws -> PosixStorage {
  try checkDirectory(directory)
  let storage: PosixStorage
  let names: [String]
  do throws(StorageError) {
    storage = try PosixStorage(reading: directory)
    names = try storage.list()
  } catch {
    throw CacheError(storage: error)
  }
  guard names.contains(where: JournalDirectory.isJournalFile) else {
    throw CacheError(.system, "\(directory): there is no journal in it")
  }
  return storage
}

/// - Throws: `CacheError.Code.system` where there is no such directory.
func checkDirectory(_ directory: String) throws(CacheError) {
  guard FileManager.default.fileExists(atPath: directory) else {
    throw CacheError(.system, "\(directory): there is no such directory")
  }
}
