import ArgumentParser

struct Demo: AsyncParsableCommand {
  func run() async throws {}
}
struct DemoWorker: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "demo-worker", shouldDisplay: false)
  func run() async throws {}
}
