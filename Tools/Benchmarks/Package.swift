// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that who uses Hindsight doesn't depend on the benchmark library, and so
// that the benchmarks call Hindsight as any other package does: through its products. Those of
// frames and of `apply` alone import HindsightCore and HindsightJournal, too, which are no products
// but modules that the products' interfaces are made of.
//   swift package --package-path Tools/Benchmarks benchmark [--filter 'memory hit.*']
let package = Package(
  name: "hindsight-benchmarks",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "hindsight", path: "../.."),
    // Without traits: its allocation counter needs packages that are built otherwise. Allocations
    // are counted by CMallocCount below.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .target(name: "CMallocCount", path: "CMallocCount"),
    .executableTarget(
      name: "HindsightBenchmarks",
      dependencies: [
        "CMallocCount",
        .product(name: "Benchmark", package: "benchmark"),
        .product(name: "Hindsight", package: "hindsight"),
        .product(name: "HindsightTesting", package: "hindsight"),
        .product(name: "HindsightReplay", package: "hindsight"),
      ],
      path: "Benchmarks/HindsightBenchmarks",
      swiftSettings: [
        .swiftLanguageMode(.v6), .enableUpcomingFeature("ExistentialAny"),
      ],
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ]
)
