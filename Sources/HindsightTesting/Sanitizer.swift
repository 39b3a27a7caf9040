/// Which sanitizer a build is for (Tools/sanitize.sh): a few tests can't hold, or take too long, under one.
package enum Sanitizer {
  #if HINDSIGHT_ASAN
    package static let isAddress = true
  #else
    package static let isAddress = false
  #endif
  #if HINDSIGHT_TSAN
    package static let isThread = true
  #else
    package static let isThread = false
  #endif
  package static var isAny: Bool { isAddress || isThread }
}
