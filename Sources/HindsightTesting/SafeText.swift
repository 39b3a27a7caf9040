/// Making text that somebody else chose harmless where a person reads it.
///
/// Keys, reasons, values, file names and messages of a hostile journal may hold anything: escape
/// sequences that reprogram a terminal, marks that reorder what is shown, characters that show
/// nothing. All of them are shown as escapes.
extension Unicode.Scalar {
  /// C0, DEL and C1; line and paragraph separators; whatever formats, reorders or shows nothing.
  /// Not variation selectors, which emoji need.
  package var isUnsafeToShow: Bool {
    if value < 0x7F { return value < 0x20 }
    switch properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: return true
    default: break
    }
    return properties.isDefaultIgnorableCodePoint && !(0xFE00...0xFE0F).contains(value)
  }
}

extension StringProtocol {
  /// Whether every byte is printable ASCII: the usual case, decided quickly.
  private var isPlain: Bool { utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } }

  /// The text with everything unsafe as `\\u{1b}`.
  /// - Parameter kept: what is left as it is.
  package func shown(keeping kept: Set<Unicode.Scalar> = []) -> String {
    if isPlain { return String(self) }
    var result = ""
    for scalar in unicodeScalars {
      if scalar.isUnsafeToShow, !kept.contains(scalar) {
        result += "\\u{" + String(scalar.value, radix: 16) + "}"
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// JSON text as one line that means the same, with everything unsafe escaped as JSON has it.
  ///
  /// In JSON, white space apart, that can only stand in strings.
  package var shownAsJSON: String {
    if isPlain { return String(self) }
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "\n", "\r", "\t": result += " "
      case _ where scalar.isUnsafeToShow: result += scalar.jsonEscape
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}

extension Unicode.Scalar {
  /// As `\\u` and four digits for each UTF-16 unit.
  fileprivate var jsonEscape: String {
    String(self).utf16.map { unit in
      let digits = String(unit, radix: 16)
      return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    }.joined()
  }
}

/// Text as a JSON string, quotes included; everything unsafe to show is escaped.
package func jsonString(_ text: some StringProtocol) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": result += "\\\""
    case "\\": result += "\\\\"
    case "\n": result += "\\n"
    case "\r": result += "\\r"
    case "\t": result += "\\t"
    case _ where scalar.isUnsafeToShow: result += scalar.jsonEscape
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}
