extension Failpoints {
  /// Every failpoint there is: `SUBJECT.OPERATION.PLACE`, the place being `before` or `after` the
  /// operation, and for writes also `middle`, when half of the bytes are written.
  public static let names: [String] =
    fileNames + places(of: "directory", ["list", "lock", "sync"])
    + places(
      of: "store",
      ["apply", "checkpoint", "close", "mark", "open", "quarantine", "read", "reader", "rows"])

  private static let fileNames: [String] = {
    let common = ["close", "create", "remove", "rename", "sync", "write"]
    return places(of: "checkpoint", common + ["open", "read"])
      + places(of: "quarantine", common)
      + places(of: "segment", common + ["allocate", "open", "read", "size", "truncate"])
  }()

  private static func places(of subject: String, _ operations: [String]) -> [String] {
    operations.sorted().flatMap { operation in
      let middle = operation == "write" ? ["middle"] : []
      return (["before"] + middle + ["after"]).map { "\(subject).\(operation).\($0)" }
    }
  }

  /// Whose failpoints the operations on a file pass; `nil`: nobody's.
  static func subject(of file: String) -> String? {
    let name = file.hasSuffix(".tmp") ? file.dropLast(4) : file[...]
    if name.hasSuffix(".quarantine") { return "quarantine" }
    if name.hasSuffix(".journal") { return "segment" }
    return name.hasSuffix(".checkpoint") ? "checkpoint" : nil
  }
}
