import CHindsightFuzzer
import Foundation
import HindsightTesting

/// One fuzz target in one process: `fuzz TARGET [arguments of libFuzzer]`. Tools/fuzz/run builds it
/// with libFuzzer where the toolchain has it; else this mutates in process, unguided.
@main
enum Fuzz {
  /// libFuzzer's callback is a C function, which captures nothing: written once, before it runs.
  nonisolated(unsafe) private static var target = FuzzTarget.json

  static func main() throws {
    let arguments = CommandLine.arguments.dropFirst()
    if arguments.first == "--list" {
      for target in FuzzTarget.allCases { print(target.rawValue) }
      return
    }
    guard let name = arguments.first, let chosen = FuzzTarget(rawValue: name) else {
      let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
      FileHandle.standardError.write(Data("fuzz: the first argument is one of \(names)\n".utf8))
      exit(2)
    }
    target = chosen
    if fuzzer_is_linked() {
      exit(guided())
    } else {
      try UnguidedFuzzer(target, arguments: Array(arguments.dropFirst())).run()
    }
  }

  /// libFuzzer, which takes the arguments after the target's name.
  private static func guided() -> Int32 {
    // The target's name becomes the program's.
    var count = CommandLine.argc - 1
    var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv + 1
    return fuzzer_run(&count, &arguments) { bytes, count in
      if let broken = Fuzz.target.run(Array(UnsafeBufferPointer(start: bytes, count: count))) {
        // A trap is what libFuzzer notices and keeps the input of.
        fatalError("\(Fuzz.target): \(broken)")
      }
      return 0
    }
  }
}
