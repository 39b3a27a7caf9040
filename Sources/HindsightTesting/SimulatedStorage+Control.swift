// What a test does to a storage, and what it sees of it.

extension SimulatedStorage {
  // MARK: What happens to it

  /// Power is lost: only what was synced is left. Files that are open belong to the past.
  public func crash() {
    restart { directory in
      directory.entries = directory.synced.mapValues { old in
        Node(SimulatedContents(synced: old.contents.withLock { $0.synced }))
      }
    }
  }

  /// The process is killed: everything written is left, and what the disk lacks stays unsynced.
  public func killProcess() {
    directory.withLock { $0.endProcess() }
  }

  /// Somebody deletes the directory and all that is in it. Open files go on working, to no avail.
  public func removeDirectory() {
    directory.withLock { directory in
      directory.entries = [:]
      directory.noteSynced([:], began: directory.operationCount)
      directory.isRemoved = true
    }
  }

  /// Whether somebody has deleted it, and nobody has made it anew.
  var isRemoved: Bool { directory.withLock { $0.isRemoved } }

  /// Fails operations from now on as `fault` says; `nil`: none.
  public func inject(_ fault: Fault?) { directory.withLock { $0.fault = fault } }

  /// How many operations there were.
  public var operationCount: Int { directory.withLock { $0.operationCount } }

  /// Files that are open at present: 0 once a cache is closed and let go of.
  public var openFileCount: Int { directory.withLock { $0.openFileCount } }

  /// Everything that happens at once when the machine starts again.
  func restart(_ change: (inout Directory) -> Void) {
    directory.withLock { directory in
      change(&directory)
      directory.noteSynced(directory.entries, began: directory.operationCount)
      directory.endProcess()
    }
    injector?.restorePower()
  }

  // MARK: Images

  /// A copy as it is now, unlocked.
  /// - Parameter injector: is asked at every operation of the copy.
  public func copy(_ injector: FaultInjector? = nil) -> SimulatedStorage {
    let copy = SimulatedStorage(injector)
    for name in names { copy.setBytes(bytes(of: name) ?? [], of: name) }
    return copy
  }

  /// What a loss of power at this moment could leave behind, as another directory.
  /// - Parameter survives: whether a sector of 512 bytes that was not synced has reached the disk
  ///   all the same; with sector -1, whether an unsynced creation, renaming or removal of the file
  ///   has. Devices and kernels write back in any order.
  public func crashImage(survives: (_ file: String, _ sector: Int) -> Bool) -> SimulatedStorage {
    let (current, synced) = directory.withLock { ($0.entries, $0.synced) }
    let image = SimulatedStorage()
    for name in Set(current.keys).union(synced.keys).sorted() {
      let isUnsure = current[name] !== synced[name]
      let entries = isUnsure && survives(name, -1) ? current : synced
      guard let node = entries[name] else { continue }
      let (new, old) = node.contents.withLock { ($0.current, $0.synced) }
      image.setBytes(new.mixed(with: old) { survives(name, $0) }.all, of: name)
    }
    return image
  }

  public var names: [String] { directory.withLock { $0.entries.keys.sorted() } }

  /// A file's bytes, space allocated ahead included; `nil` if there is no such file.
  public func bytes(of name: String) -> [UInt8]? {
    directory.withLock { $0.entries[name] }.map { node in
      node.contents.withLock { $0.current.all }
    }
  }

  /// Replaces a file's bytes, or makes it; synced.
  public func setBytes(_ bytes: [UInt8], of name: String) {
    let node = Node(SimulatedContents(synced: SimulatedContents.Extent(bytes)))
    directory.withLock { directory in
      directory.entries[name] = node
      directory.synced[name] = node
    }
  }

  /// Deletes a file, durably.
  public func delete(_ name: String) {
    directory.withLock { directory in
      if let node = directory.entries[name] { directory.bury(node) }
      directory.entries[name] = nil
      directory.synced[name] = nil
    }
  }
}
