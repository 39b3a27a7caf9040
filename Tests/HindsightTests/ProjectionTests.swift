import HindsightCore
import HindsightStore
import HindsightTesting
import Testing

@testable import Hindsight

extension Projection {
  fileprivate mutating func append(_ operation: RowOperation, at sequence: SequenceNumber) {
    switch operation {
    case .insert(let row):
      let fact = SetFact(
        sequence: row.origin, at: row.createdAt, coder: row.coder, memoryExpiry: nil,
        storeExpiry: row.expiry)
      row.key.withUnsafeBytes {
        insert(fact, key: $0, value: Array(row.value), expiry: row.expiry)
      }
    case .delete(let origin): delete(origin, at: sequence)
    case .deleteAll: deleteAll(at: sequence)
    }
  }
}

/// What the store is told, transaction by transaction.
@Suite("S040 projection")
struct ProjectionTests {
  private func row(_ origin: UInt64) -> RowOperation {
    .insert(
      StoredRow(
        origin: SequenceNumber(origin), key: [1], value: [1, 2, 3], coder: 2, createdAt: .zero,
        expiry: .zero))
  }

  @Test("a queue lets go of what was removed, at once where nothing is left in it")
  func letsGo() {
    final class Value: Sendable {}
    var queue = ChunkedQueue<Value>()
    weak var last: Value?
    weak var first: Value?
    for number in 0..<200 {
      let value = Value()
      if number == 0 { first = value }
      last = value
      queue.append(value)
    }
    queue.removeFirst(100)
    #expect(first == nil && last != nil && queue.count == 100)
    queue.removeFirst(100)
    #expect(last == nil && queue.first == nil)
    let value = Value()
    queue.append(value)
    #expect(queue.first === value && queue.prefix(1).count == 1)
  }

  @Test("a queue lets go of what was removed of a chunk, once nobody shares that")
  func letsGoOfParts() throws {
    final class Value: Sendable {}
    var queue = ChunkedQueue<Value>()
    for _ in 0..<100 { queue.append(Value()) }
    weak let first = queue[0]
    weak let second = queue[1]
    var taken = queue.prefix(1)
    queue.append(Value())
    queue.removeFirst(1)
    #expect(taken.first?.elements.first === first && first != nil && queue.first === second)
    taken = []
    #expect(first == nil && second != nil)
    // Places don't move by it.
    queue.removeFirst(62)
    weak let last = queue[0]
    weak let next = queue[1]
    queue.removeFirst(1)
    #expect(last == nil && next != nil && queue.first === next && queue.count == 37)
  }

  /// Applies batches to rows, a crash after each: what the mark doesn't cover is told again.
  private func run(_ history: [(at: UInt64, operation: RowOperation)]) -> Set<UInt64> {
    var rows: Set<UInt64> = []
    var mark = SequenceNumber.zero
    let last = SequenceNumber(history.last?.at ?? 0)
    while mark < last {
      // Begins again from the mark after some transactions, as a recovery does.
      var projection = Projection(applied: mark)
      for (at, operation) in history where SequenceNumber(at) > mark {
        projection.append(operation, at: SequenceNumber(at))
      }
      for _ in 0..<6 {
        guard let waiting = projection.next(durable: last) else { break }
        let batch = Projection.Batch(waiting, rowCountMax: 1_000, cutsDecisions: true)
        for operation in Projection.Rows(batch).operations {
          switch operation {
          case .insert(let row): #expect(rows.insert(row.origin.rawValue).inserted)
          case .delete(let origin): rows.remove(origin.rawValue)
          case .deleteAll: rows = []
          }
        }
        #expect(batch.applied >= mark)
        mark = batch.applied
        projection.committed(batch)
        if mark == last { #expect(projection.pinnedByteCount == 0 && projection.rowCount == 0) }
      }
    }
    return rows
  }

  @Test("a clear of many rows comes in several transactions, and a crash between them does no harm")
  func clear() {
    let count = UInt64(2 * EngineBounds.transactionRowCount + 7)
    var projection = Projection(applied: SequenceNumber(count))
    for origin in 1...count {
      projection.append(.delete(origin: SequenceNumber(origin)), at: SequenceNumber(count + 1))
    }
    projection.append(row(count + 2), at: SequenceNumber(count + 2))
    var sizes: [Int] = []
    var marks: [UInt64] = []
    while let waiting = projection.next(durable: SequenceNumber(count + 2)) {
      let batch = Projection.Batch(waiting, cutsDecisions: true)
      sizes.append(Projection.Rows(batch).operations.count)
      marks.append(batch.applied.rawValue)
      projection.committed(batch)
    }
    #expect(sizes.allSatisfy { $0 <= EngineBounds.transactionRowCount + 1 }, "\(sizes)")
    #expect(sizes.reduce(0, +) == Int(count) + 1)
    #expect(marks.dropLast().allSatisfy { $0 == count }, "the mark waits for the decision's end")
    #expect(marks.last == count + 2)
  }

  // Found by the simulator: the row that a set replaces was deleted in one transaction, and the new one
  // inserted in the next. After a crash in between there was neither, and no journal to tell it again.
  @Test(
    "a transaction ends where a decision does, but in a clear of many rows that a journal tells again",
    arguments: [true, false])
  func wholeDecisions(hasJournal: Bool) {
    var projection = Projection(applied: .zero)
    for origin in 1...9 as ClosedRange<UInt64> {
      if origin > 1 {
        projection.append(.delete(origin: SequenceNumber(origin - 1)), at: SequenceNumber(origin))
      }
      projection.append(row(origin), at: SequenceNumber(origin))
    }
    for origin in 1...5 as ClosedRange<UInt64> {
      projection.append(.delete(origin: SequenceNumber(origin)), at: SequenceNumber(10))
    }
    var rows: [(mark: UInt64, rows: Set<UInt64>)] = [(0, [])]
    while let waiting = projection.next(durable: SequenceNumber(10)) {
      let batch = Projection.Batch(waiting, rowCountMax: 2, cutsDecisions: hasJournal)
      var next = rows.last!.rows
      for operation in Projection.Rows(batch).operations {
        switch operation {
        case .insert(let row): next.insert(row.origin.rawValue)
        case .delete(let origin): next.remove(origin.rawValue)
        case .deleteAll: next = []
        }
      }
      rows.append((batch.applied.rawValue, next))
      projection.committed(batch)
    }
    for (mark, rows) in rows.dropFirst() { #expect(rows == [min(mark, 9)], "at \(mark)") }
    #expect(rows.filter { $0.mark == 9 }.count == (hasJournal ? 3 : 1))
    #expect(rows.last?.mark == 10)
  }

  @Test("told again after crashes, the rows are those of the whole history")
  func crashes() {
    for seed in 1...20 as ClosedRange<UInt64> {
      var random = SplitMix64(seed: seed)
      var history: [(at: UInt64, operation: RowOperation)] = []
      var expected: Set<UInt64> = []
      var sequence: UInt64 = 0
      for _ in 0..<6_000 {
        sequence += 1
        if Int.random(in: 0..<2_000, using: &random) == 0 {
          for origin in expected.sorted() {
            history.append((sequence, .delete(origin: SequenceNumber(origin))))
          }
          expected = []
          continue
        }
        if let old = expected.min(), Int.random(in: 0..<3, using: &random) == 0 {
          history.append((sequence, .delete(origin: SequenceNumber(old))))
          expected.remove(old)
        }
        history.append((sequence, row(sequence)))
        expected.insert(sequence)
      }
      #expect(run(history) == expected, "seed \(seed)")
    }
  }

  @Test("elements of a chunked queue find their bytes, also in what was taken before others came")
  func bytes() {
    var queue = ChunkedQueue<Range<Int>>()
    var model: [[UInt8]] = []
    var random = SplitMix64(seed: 5)
    for _ in 0..<3_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      let before = queue.prefix(queue.count)
      queue.append(bytes.withUnsafeBytes { queue.append(bytes: $0) })
      for (slices, expected) in [(before, model), (queue.prefix(queue.count), model + [bytes])] {
        let found = slices.flatMap { slice in slice.elements.map { Array(slice.bytes[$0]) } }
        #expect(found == expected)
      }
      model.append(bytes)
      let count = Int.random(in: 0...2, using: &random)
      if model.count > 200 {
        queue.removeFirst(count)
        model.removeFirst(count)
      }
    }
  }

  @Test("a queue asks once for each chunk to come, and takes what it is given")
  func asksForChunks() {
    var queue = ChunkedQueue<Range<Int>>()
    for round in 0..<5 {
      var asked: [Int] = []
      for place in 0..<64 {
        queue.append([UInt8(place)].withUnsafeBytes { queue.append(bytes: $0) })
        if queue.asksForSpare() {
          asked.append(place)
          if round > 1 { queue.give(ChunkedQueue.Chunk(withBytes: true)) }
        }
      }
      // A chunk that wasn't taken would keep it from asking.
      #expect(asked == [31], "\(round)")
      if round == 3 { queue.removeFirst(queue.count) }
    }
    #expect(
      queue.prefix(64).flatMap { slice in slice.elements.map { slice.bytes[$0.lowerBound] } }
        .elementsEqual(0..<64))
  }

  @Test("a chunked queue is a queue")
  func queue() {
    var queue = ChunkedQueue<Int>()
    var model: [Int] = []
    var random = SplitMix64(seed: 4)
    for value in 0..<20_000 {
      queue.append(value)
      model.append(value)
      if queue.asksForSpare(), Bool.random(using: &random) { queue.give(ChunkedQueue.Chunk()) }
      if Int.random(in: 0..<50, using: &random) == 0 {
        let count = Int.random(in: 0...model.count, using: &random)
        queue.removeFirst(count)
        model.removeFirst(count)
      }
      #expect(queue.count == model.count && queue.first == model.first)
      if let last = model.last { #expect(queue[model.count - 1] == last) }
    }
  }
}
