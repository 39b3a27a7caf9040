import Hindsight

/// Performs the lines of a batch several at a time: those of one key in their order, in one lane;
/// what is about no single key waits for all before it.
struct ExecLanes {
  private let cache: TextCache
  private let count: Int

  init(_ cache: TextCache, count: Int) {
    self.cache = cache
    self.count = count
  }

  private typealias Numbered = (at: Int, operation: ExecOperation)

  func replies(to batch: [LineReader.Line]) async -> [Reply] {
    var replies: [Int: Reply] = [:]
    var lanes = [[Numbered]](repeating: [], count: count)
    for (at, line) in batch.enumerated() {
      switch ExecOperation.parse(line) {
      case .failure(let bad): replies[at] = bad.reply
      case .success(let operation):
        if let key = operation.subject {
          lanes[Int(UInt(bitPattern: key.hashValue) % UInt(count))].append((at, operation))
        } else {
          await perform(&lanes, &replies)
          replies[at] = await operation.reply(cache).0
        }
      }
    }
    await perform(&lanes, &replies)
    return batch.indices.compactMap { replies[$0] }
  }

  private func perform(_ lanes: inout [[Numbered]], _ replies: inout [Int: Reply]) async {
    await withTaskGroup(of: [(Int, Reply)].self) { group in
      for lane in lanes where !lane.isEmpty {
        group.addTask {
          var answers: [(Int, Reply)] = []
          for (at, operation) in lane { answers.append((at, await operation.reply(cache).0)) }
          return answers
        }
      }
      for await answers in group {
        for (at, reply) in answers { replies[at] = reply }
      }
    }
    for at in lanes.indices { lanes[at].removeAll(keepingCapacity: true) }
  }
}
