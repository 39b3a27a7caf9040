import Foundation
import HindsightTesting

/// All names that are looked up, the most popular first.
struct Universe {
  struct Package {
    var registry: String
    var name: String
    /// `nil`: there is no such package.
    var version: String?
  }

  private(set) var packages: [Package] = []

  /// Adds a registry's packages, and names that it doesn't have, spread among them.
  mutating func add(
    _ registry: String, _ list: [(name: String, version: String)], missing: Int,
    _ random: inout SplitMix64
  ) {
    let known = Set(list.map(\.name))
    var mine = list.map { Package(registry: registry, name: $0.name, version: $0.version) }
    var added = 0
    while added < missing {
      let name = Self.mistaken(list[Int.random(in: 0..<list.count, using: &random)].name, &random)
      guard !known.contains(name) else { continue }
      mine.insert(
        Package(registry: registry, name: name, version: nil),
        at: Int.random(in: 100..<mine.count, using: &random))
      added += 1
    }
    // Registries alternate: both have popular packages.
    guard !packages.isEmpty else {
      packages = mine
      return
    }
    packages = zip(packages, mine).flatMap { [$0, $1] }
  }

  /// Popularity is not quite what the lists say.
  mutating func shuffleNeighbours(_ random: inout SplitMix64) {
    for start in stride(from: 0, to: packages.count - 50, by: 50) {
      packages[start..<start + 50].shuffle(using: &random)
    }
  }

  /// What people and language models make of a name.
  private static func mistaken(_ name: String, _ random: inout SplitMix64) -> String {
    var letters = Array(name)
    let at = Int.random(in: 0..<letters.count, using: &random)
    switch Int.random(in: 0..<5, using: &random) {
    case 0 where letters.count > 3: letters.remove(at: at)
    case 1: letters.insert(letters[at], at: at)
    case 2 where at + 1 < letters.count: letters.swapAt(at, at + 1)
    case 3:
      return name + ["-utils", "-sdk", "-helper", "-async", "-tools"].randomElement(using: &random)!
    default:
      return ["py-", "node-", "easy-", "fast-", "simple-"].randomElement(using: &random)! + name
    }
    return String(letters)
  }
}

/// The stream itself: who asked for what, when, and what the registry would have said.
struct Stream {
  private static let words = [
    "a", "access", "and", "api", "async", "based", "build", "client", "cloud", "code", "command",
    "common", "config", "core", "data", "easy", "fast", "file", "for", "framework", "from",
    "functions", "generator", "helpers", "http", "in", "interface", "javascript", "json", "lib",
    "library", "lightweight", "line", "management", "model", "module", "network", "node", "object",
    "of", "on", "open", "package", "parser", "plugin", "python", "react", "server", "service",
    "simple", "source", "support", "test", "the", "to", "tool", "tools", "types", "with", "wrapper",
  ]

  var universe: Universe
  var count: Int
  var random: SplitMix64

  /// One line a lookup: milliseconds since the beginning, registry, name as it was asked for. What
  /// the registry says comes before the first lookup of a package, and again whenever it changes:
  /// `=`, registry, name, JSON.
  mutating func text() -> String {
    var lines: [String] = []
    var revisions = [Int](repeating: 0, count: universe.packages.count)
    let cumulative = zipf(universe.packages.count)
    var milliseconds = 0.0
    for _ in 0..<count {
      milliseconds += -2_200 * log(1 - Double.random(in: 0..<1, using: &random))
      let draw = Double.random(in: 0..<cumulative[cumulative.count - 1], using: &random)
      let at = cumulative.partitioningIndex { $0 > draw }
      let package = universe.packages[at]
      if revisions[at] == 0 || Int.random(in: 0..<40, using: &random) == 0 {
        revisions[at] += 1
        lines.append("=\t\(package.registry)\t\(package.name)\t\(json(package, revisions[at]))")
      }
      lines.append("\(Int(milliseconds))\t\(package.registry)\t\(spelling(package.name))")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private func zipf(_ count: Int) -> [Double] {
    var sum = 0.0
    return (1...count).map { rank in
      sum += pow(Double(rank), -0.85)
      return sum
    }
  }

  /// Not everybody writes names as the registry does.
  private mutating func spelling(_ name: String) -> String {
    switch Int.random(in: 0..<20, using: &random) {
    case 0: name.uppercased()
    case 1: name.replacingOccurrences(of: "-", with: "_")
    default: name
    }
  }

  private mutating func json(_ package: Universe.Package, _ revision: Int) -> String {
    guard let version = package.version else {
      return "{\"name\":\"\(package.name)\",\"registry\":\"\(package.registry)\",\"exists\":false,"
        + "\"checked_by\":\"resolver-\(Int.random(in: 1...9, using: &random))\","
        + "\"similar\":[\"\(package.name.prefix(6))\"],\"status\":404,\"revision\":\(revision)}"
    }
    let downloads = Int(pow(10, Double.random(in: 3...8, using: &random)))
    let year = Int.random(in: 2009...2025, using: &random)
    let month = Int.random(in: 1...12, using: &random)
    let description = (0..<Int.random(in: 2...48, using: &random))
      .map { _ in Self.words.randomElement(using: &random)! }.joined(separator: " ")
    return "{\"name\":\"\(package.name)\",\"registry\":\"\(package.registry)\",\"exists\":true,"
      + "\"latest_version\":\"\(version)\",\"downloads_last_month\":\(downloads),"
      + "\"created_at\":\"\(year)-\(month < 10 ? "0" : "")\(month)-01T00:00:00Z\","
      + "\"maintainer_count\":\(Int.random(in: 1...9, using: &random)),"
      + "\"release_count\":\(Int.random(in: 1...240, using: &random) + revision),"
      + "\"description\":\"\(description)\"}"
  }
}

extension Array {
  /// The first place whose element satisfies a predicate that, once true, stays true.
  func partitioningIndex(_ predicate: (Element) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if predicate(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
