import Glibc

/// Runs one hot path so many times, for Tools/instruction-counts/run.
@main
struct InstructionCounts {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 4, let path = HotPath(rawValue: arguments[1]),
      let count = Int(arguments[2])
    else {
      let paths = HotPath.allCases.map(\.rawValue).joined(separator: "|")
      diagnose("usage: instruction-counts \(paths) COUNT DIRECTORY")
      exit(64)
    }
    let runner = PathRunner(path: path, count: count, directory: arguments[3])
    do {
      try WaitingExecutor().run { try await runner.run() }
    } catch {
      diagnose("instruction-counts: \(path.rawValue): \(error)")
      exit(1)
    }
    exit(0)
  }

  private static func diagnose(_ text: String) {
    let line = Array((text + "\n").utf8)
    write(STDERR_FILENO, line, line.count)
  }
}
