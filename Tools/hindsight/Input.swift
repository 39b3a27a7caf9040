import ArgumentParser
import Foundation

/// The bytes of a file that was named on the command line, or of a pipe or device.
/// - Throws: `ValidationError` where it can't be read.
func contents(of path: String) throws(ValidationError) -> [UInt8] {
  func failure() -> ValidationError {
    ValidationError("\(path) can't be read: \(systemMessage(errno))")
  }
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw failure() }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 20)
  while true {
    let count = read(descriptor, &chunk, chunk.count)
    if count == 0 { return bytes }
    if count > 0 {
      bytes.append(contentsOf: chunk[..<count])
    } else if errno != EINTR, errno != EAGAIN || !waitForInput(descriptor) {
      throw failure()
    }
  }
}

/// Waits until something can be read: whoever shares the descriptor with us may have made it non-blocking.
/// - Returns: whether to read again.
func waitForInput(_ descriptor: Int32) -> Bool {
  var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  return poll(&wanted, 1, -1) >= 0 || errno == EINTR
}
