// LevelDB, or RocksDB with -DROCKSDB, whose interface is the same.
#ifdef ROCKSDB
#include <rocksdb/db.h>
#else
#include <leveldb/db.h>
#endif

#include <memory>

#include "peer.hpp"

#ifdef ROCKSDB
namespace engine = rocksdb;
static const char *const peer = "rocksdb";
#else
namespace engine = leveldb;
static const char *const peer = "leveldb";
#endif

static engine::Options options() {
  engine::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 256 << 20;  // the whole log is there to be replayed
  return options;
}

static std::unique_ptr<engine::DB> open_database(const std::string &path,
                                                 const engine::Options &options = ::options()) {
  engine::DB *db = nullptr;
  require(engine::DB::Open(options, path, &db).ok(), "the database doesn't open");
  return std::unique_ptr<engine::DB>(db);
}

int main(int count, char **arguments) {
  take_arguments(count, arguments);
  auto sets = read_stream("sets.tsv");
  auto gets = read_lookups("gets.tsv", 200000);
  auto put = [](engine::DB &db, const Operation &set, bool sync) {
    engine::WriteOptions options;
    options.sync = sync;
    require(db.Put(options, set.key, set.value).ok(), "the database doesn't put");
  };
  std::string path = new_directory(peer);
  auto db = open_database(path);
  auto start = Clock::now();
  for (auto &set : sets) put(*db, set, false);
  row(peer, "set_buffered_1w", sets.size() / seconds_since(start), "sets/s");
  double bytes = 0;
  for (auto &file : fs::directory_iterator(path))
    if (file.path().extension() == ".log") bytes += file.file_size();
  row(peer, "disk_log", bytes / sets.size(), "B/event");
  db.reset();
  auto recover = [&](const std::string &metric, const std::string &path,
                     const engine::Options &options) {
    auto start = Clock::now();
    db = open_database(path, options);
    double taken = seconds_since(start);
    row(peer, metric, taken * 1e3, "ms");
    row(peer, metric + "_rate", sets.size() / taken, "events/s");
  };
#ifdef ROCKSDB
  std::string copy = work + "/rocksdb-copy";
  fs::remove_all(copy);
  fs::copy(path, copy, fs::copy_options::recursive);
  auto without_flush = options();
  without_flush.avoid_flush_during_recovery = true;
  recover("recover_200k", copy, without_flush);
#endif
  // What is replayed becomes a table, which LevelDB can't leave out. The lookups read that.
  recover("recover_200k_with_flush", path, options());
  store_hits(peer, gets, [&](const std::string &key) {
    std::string value;
    return db->Get({}, key, &value).ok() && !value.empty();
  });
  for (int threads : {1, 16, 64}) {
    db.reset();
    db = open_database(new_directory(peer));
    row(peer, "set_fsync_" + std::to_string(threads) + "w",
        set_rate(sets, threads, [&](const Operation &set) { put(*db, set, true); }), "sets/s");
  }
}
