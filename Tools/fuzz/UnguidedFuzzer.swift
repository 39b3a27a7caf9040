import Foundation
import HindsightTesting

/// What is left without libFuzzer: mutations of the corpus by a seeded generator. It takes those of
/// libFuzzer's arguments that say how long (`-max_total_time`), by which seed (`-seed`), where a
/// crasher goes (`-artifact_prefix`), and where the corpus is; files instead of directories are run
/// once.
struct UnguidedFuzzer {
  private let target: FuzzTarget
  private var seconds = 60
  private var seed = UInt64.random(in: 0 ... .max)
  private var prefix = "./"
  private var inputs: [[UInt8]] = []
  private var isReplay = false

  init(_ target: FuzzTarget, arguments: [String]) throws {
    self.target = target
    for argument in arguments {
      if let value = Self.value(of: "-max_total_time=", in: argument) {
        seconds = Int(value) ?? seconds
      } else if let value = Self.value(of: "-seed=", in: argument) {
        seed = UInt64(value) ?? seed
      } else if let value = Self.value(of: "-artifact_prefix=", in: argument) {
        prefix = value
      } else if !argument.hasPrefix("-") {
        try read(argument)
      }
    }
  }

  private static func value(of name: String, in argument: String) -> String? {
    argument.hasPrefix(name) ? String(argument.dropFirst(name.count)) : nil
  }

  private mutating func read(_ path: String) throws {
    var isDirectory: ObjCBool = false
    _ = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
    var paths = [path]
    if isDirectory.boolValue {
      let names = try FileManager.default.contentsOfDirectory(atPath: path)
      paths = names.sorted().map { path + "/" + $0 }
    } else {
      isReplay = true
    }
    for path in paths { inputs.append([UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))) }
  }

  /// Every input as it is, then mutations until the time is over. The input that runs is the file
  /// `current` after the prefix, so it is there when the process traps, and stays when it breaks a
  /// property.
  func run() throws {
    if isReplay {
      for input in inputs { try run(input, keptIn: nil) }
      return
    }
    let path = prefix + "current"
    guard !inputs.isEmpty, FileManager.default.createFile(atPath: path, contents: nil),
      let current = FileHandle(forWritingAtPath: path)
    else {
      throw CocoaError(.fileWriteUnknown, userInfo: [NSFilePathErrorKey: path])
    }
    try mutate(keptIn: current)
    try FileManager.default.removeItem(atPath: path)
  }

  private func mutate(keptIn current: FileHandle) throws {
    for input in inputs { try run(input, keptIn: current) }
    print("no libFuzzer: mutations that nothing guides, seed \(seed)")
    var mutator = ByteMutator(seed: seed)
    let end = ContinuousClock.now + .seconds(seconds)
    var count = 0
    while ContinuousClock.now < end {
      let other = inputs[(count / 7) % inputs.count]
      try run(mutator.mutate(inputs[count % inputs.count], with: other), keptIn: current)
      count += 1
    }
    print("stat::number_of_executed_units: \(count)")
  }

  private func run(_ bytes: [UInt8], keptIn current: FileHandle?) throws {
    if let current {
      // Rewritten in place: a file that is cut to nothing each time waits for the disk.
      try current.seek(toOffset: 0)
      try current.write(contentsOf: bytes)
      try current.truncate(atOffset: UInt64(bytes.count))
    }
    guard let broken = target.run(bytes) else { return }
    print("Fatal error: \(target): \(broken)")
    exit(1)
  }
}
