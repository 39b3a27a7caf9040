// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// What the tests spend their time in, for Tools/test.sh: optimized, with its assertions. A package
/// that depends on this one never sees it, since it may not have unsafe flags.
let exercised: [SwiftSetting] =
  Context.environment["HINDSIGHT_TEST_OPTIMIZED"] == nil
  ? settings : settings + [.unsafeFlags(["-O", "-assert-config", "Debug"])]

let package = Package(
  name: "hindsight",
  products: [
    .library(name: "Hindsight", targets: ["Hindsight"]),
    .library(name: "HindsightReplay", targets: ["HindsightReplay"]),
    .library(name: "HindsightTesting", targets: ["HindsightTesting"]),
    .executable(name: "hindsight", targets: ["HindsightCLI"]),
  ],
  dependencies: [
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.1.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.11.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.4.0"),
  ],
  targets: [
    .systemLibrary(name: "CHindsightZlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CHindsightPrefetch"),
    .systemLibrary(name: "CHindsightSQLite", providers: [.apt(["libsqlite3-dev"])]),

    .systemLibrary(name: "CHindsightMalloc", path: "Tools/CHindsightMalloc"),
    .systemLibrary(name: "CHindsightFuzzer", path: "Tools/CHindsightFuzzer"),

    .target(name: "HindsightThreads", swiftSettings: exercised),
    .target(name: "HindsightCore", dependencies: ["CHindsightPrefetch"], swiftSettings: exercised),
    .target(
      name: "HindsightJournal",
      dependencies: [
        "HindsightCore", "HindsightThreads", "CHindsightZlib",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: exercised),
    .target(
      name: "HindsightStore",
      dependencies: ["HindsightCore", "HindsightThreads", "CHindsightSQLite"],
      swiftSettings: exercised),
    .target(
      name: "Hindsight",
      dependencies: [
        "HindsightCore", "HindsightJournal", "HindsightStore", "HindsightThreads",
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: exercised),
    .target(
      name: "HindsightReplay",
      dependencies: ["HindsightCore", "HindsightJournal", "HindsightStore"],
      swiftSettings: exercised),
    .target(
      name: "HindsightTesting",
      dependencies: [
        "Hindsight", "HindsightCore", "HindsightJournal", "HindsightStore", "HindsightReplay",
        "CHindsightZlib", .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: exercised),
    .executableTarget(
      name: "HindsightCLI",
      dependencies: [
        "Hindsight", "HindsightCore", "HindsightJournal", "HindsightReplay", "HindsightStore",
        "HindsightTesting", "CHindsightMalloc", "CHindsightSQLite",
        .product(name: "Histogram", package: "hdrhistogram-swift"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Tools/hindsight", swiftSettings: settings),
    .executableTarget(
      name: "make-lookups",
      dependencies: [
        "HindsightTesting", "CHindsightZlib",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Tools/make-lookups", swiftSettings: settings),
    .executableTarget(
      name: "crash-test",
      dependencies: [
        "Hindsight", "HindsightJournal", "HindsightReplay", "HindsightStore", "HindsightTesting",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Tools/crash-test", exclude: ["powerloss.c"], swiftSettings: settings),
    .executableTarget(
      name: "soak",
      dependencies: [
        "Hindsight", "HindsightReplay", "HindsightTesting",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Tools/soak", swiftSettings: settings),
    .executableTarget(
      name: "make-journals",
      dependencies: [
        "Hindsight", "HindsightTesting",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Tools/make-journals", swiftSettings: settings),
    .executableTarget(
      name: "simulator",
      dependencies: [
        "HindsightTesting",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Tools/simulator", swiftSettings: settings),

    .executableTarget(
      name: "fuzz", dependencies: ["CHindsightFuzzer", "HindsightTesting"], path: "Tools/fuzz",
      exclude: ["run"], swiftSettings: settings),
    .executableTarget(
      name: "instruction-counts",
      dependencies: ["Hindsight", "HindsightCore", "HindsightJournal"],
      path: "Tools/instruction-counts", exclude: ["run", "counts.tsv"], swiftSettings: settings),

    .testTarget(
      name: "HindsightSimulatorTests", dependencies: ["HindsightTesting"],
      swiftSettings: settings),
    .testTarget(
      name: "HindsightCoreTests", dependencies: ["HindsightCore", "HindsightTesting"],
      swiftSettings: settings),
    .testTarget(
      name: "HindsightJournalTests",
      dependencies: ["HindsightCore", "HindsightJournal", "HindsightTesting", "CHindsightZlib"],
      swiftSettings: exercised),
    .testTarget(
      name: "HindsightStoreTests",
      dependencies: [
        "HindsightCore", "HindsightStore", "HindsightTesting", "HindsightThreads",
        "CHindsightSQLite",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "HindsightTests",
      dependencies: [
        "Hindsight", "HindsightCore", "HindsightJournal", "HindsightReplay", "HindsightStore",
        "HindsightTesting", "HindsightThreads", .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),
    .testTarget(
      // As a user's program may be: nothing comes by an import that isn't there.
      name: "ReadmeTests",
      dependencies: ["Hindsight", "HindsightCore", "HindsightReplay", "HindsightTesting"],
      swiftSettings: settings + [.enableUpcomingFeature("MemberImportVisibility")]),
    .testTarget(
      name: "HindsightCLITests",
      dependencies: [
        "Hindsight", "HindsightCLI", "HindsightTesting", "crash-test", "simulator", "soak",
      ],
      swiftSettings: settings),
    .testTarget(
      name: "HindsightReplayTests",
      dependencies: [
        "Hindsight", "HindsightCore", "HindsightJournal", "HindsightReplay", "HindsightStore",
        "HindsightTesting",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),
  ]
)
