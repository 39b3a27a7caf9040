import ArgumentParser
import CHindsightZlib
import Foundation
import HindsightTesting

/// Makes the recorded stream of registry lookups that `hindsight demo` replays. Names and versions
/// are facts, taken from package lists; everything else is synthetic, and decided by the seed.
@main
struct MakeLookups: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "make-lookups",
    abstract: "Make Fixtures/lookups/lookups.tsv.gz from package lists.",
    discussion: """
      The lists are TSV with a header line: PyPI's columns are name, version, month, rank (empty
      where unranked), summary; npm's are name, version, downloads a month, summary.

      Example: swift run make-lookups --pypi pypi.tsv --npm npm.tsv --output lookups.tsv.gz
      """)

  @Option(help: "The list of PyPI packages.")
  var pypi: String

  @Option(help: "The list of npm packages.")
  var npm: String

  @Option(help: "The file to write.")
  var output: String

  @Option(help: "Decides everything that is left to chance.")
  var seed: UInt64 = 40

  @Option(help: "Lookups in the stream.")
  var lookups = 60_000

  @Option(help: "Packages of each registry.")
  var packages = 6_500

  func run() throws {
    var random = SplitMix64(seed: seed)
    var universe = Universe()
    let pythons = try list(pypi) { Int($0[3]).map { -$0 } }
    let nodes = try list(npm) { Int($0[2]) }
    universe.add("pypi", pythons, missing: packages / 12, &random)
    universe.add("npm", nodes, missing: packages / 12, &random)
    universe.shuffleNeighbours(&random)
    var stream = Stream(universe: universe, count: lookups, random: random)
    let text = stream.text()
    try write(text)
    print(
      "\(lookups) lookups over \(universe.packages.count) names, \(text.utf8.count) bytes before "
        + "compression")
  }

  /// The most popular packages of a list, as (name, version).
  private func list(
    _ path: String, popularity: ([Substring]) -> Int?
  ) throws -> [(name: String, version: String)] {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    var ranked: [(popularity: Int, name: String, version: String)] = []
    for line in text.split(separator: "\n").dropFirst() {
      let columns = line.split(separator: "\t", omittingEmptySubsequences: false)
      guard columns.count >= 4, let popularity = popularity(columns), columns[0].utf8.count <= 80,
        !columns[1].isEmpty
      else { continue }
      ranked.append((popularity, String(columns[0]), String(columns[1])))
    }
    guard ranked.count >= packages else {
      throw ValidationError("\(path) ranks only \(ranked.count) packages")
    }
    ranked.sort { ($0.popularity, $1.name) > ($1.popularity, $0.name) }
    return ranked.prefix(packages).map { ($0.name, $0.version) }
  }

  private func write(_ text: String) throws {
    guard let file = gzopen(output, "wb9") else {
      throw ValidationError("\(output) can't be written")
    }
    let bytes = Array(text.utf8)
    let written = gzwrite(file, bytes, UInt32(bytes.count))
    guard gzclose(file) == Z_OK, Int(written) == bytes.count else {
      throw ValidationError("\(output) was not written whole")
    }
  }
}
