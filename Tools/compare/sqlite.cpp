// SQLite with a write-ahead log, as it is and tuned for a program that has it to itself.
#include <sqlite3.h>

#include "peer.hpp"

// A new database with one table.
class Database {
  sqlite3 *db = nullptr;
  sqlite3_stmt *put = nullptr, *get = nullptr;

 public:
  Database(bool is_tuned, const char *synchronous) {
    std::string path = new_directory("sqlite") + "/cache.sqlite";
    require(sqlite3_open(path.c_str(), &db) == SQLITE_OK, "SQLite doesn't open");
    // No file locks, and a log of up to 64 MiB before it is moved into the database.
    if (is_tuned) execute("PRAGMA locking_mode=EXCLUSIVE");
    execute("PRAGMA journal_mode=WAL");
    if (is_tuned) execute("PRAGMA wal_autocheckpoint=16384");
    execute((std::string("PRAGMA synchronous=") + synchronous).c_str());
    execute("PRAGMA cache_size=-65536");
    execute("CREATE TABLE cache(key TEXT PRIMARY KEY, value BLOB, expiry INTEGER) WITHOUT ROWID");
    sqlite3_prepare_v2(db, "REPLACE INTO cache VALUES(?,?,?)", -1, &put, nullptr);
    sqlite3_prepare_v2(db, "SELECT value FROM cache WHERE key=? AND expiry>?", -1, &get, nullptr);
    require(put && get, "SQLite doesn't prepare");
  }
  Database(const Database &) = delete;
  ~Database() {
    sqlite3_finalize(put);
    sqlite3_finalize(get);
    sqlite3_close(db);
  }
  void execute(const char *sql) {
    require(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK, sql);
  }
  void insert(const Operation &set) {
    sqlite3_bind_text(put, 1, set.key.data(), set.key.size(), SQLITE_STATIC);
    sqlite3_bind_blob(put, 2, set.value.data(), set.value.size(), SQLITE_STATIC);
    sqlite3_bind_int64(put, 3, time(nullptr) + set.ttl);
    require(sqlite3_step(put) == SQLITE_DONE, "SQLite doesn't insert");
    sqlite3_reset(put);
  }
  // Seconds for all of a stream, so many in a transaction.
  double insert(const std::vector<Operation> &sets, size_t transaction) {
    auto start = Clock::now();
    for (size_t at = 0; at < sets.size();) {
      execute("BEGIN");
      for (size_t end = std::min(at + transaction, sets.size()); at < end; at++) insert(sets[at]);
      execute("COMMIT");
    }
    return seconds_since(start);
  }
  bool has(const std::string &key) {
    sqlite3_bind_text(get, 1, key.data(), key.size(), SQLITE_STATIC);
    sqlite3_bind_int64(get, 2, time(nullptr));
    std::string copy;
    if (sqlite3_step(get) == SQLITE_ROW)
      copy.assign((const char *)sqlite3_column_blob(get, 0), sqlite3_column_bytes(get, 0));
    sqlite3_reset(get);
    return !copy.empty();
  }
};

int main(int count, char **arguments) {
  take_arguments(count, arguments);
  auto sets = read_stream("sets.tsv"), fill = read_stream("fill.tsv");
  auto gets = read_lookups("gets.tsv", 200000);
  auto set_each = [&](const char *metric, const char *synchronous) {
    Database database(false, synchronous);
    auto set = [&](const Operation &set) { database.insert(set); };
    row("sqlite", metric, set_rate(sets, 1, set), "sets/s");
  };
  set_each("set_fsync_1w", "FULL");
  set_each("set_buffered_1w", "NORMAL");
  for (bool is_tuned : {false, true}) {
    const char *peer = is_tuned ? "sqlite-tuned" : "sqlite";
    for (auto [metric, transaction] : {std::pair("fill_100k_one_txn", fill.size()),
                                       std::pair("set_wal_normal_batch1000", size_t(1000))}) {
      Database database(is_tuned, "NORMAL");
      row(peer, metric, fill.size() / database.insert(fill, transaction), "sets/s");
    }
    Database database(is_tuned, "NORMAL");
    database.insert(sets, 1000);
    store_hits(peer, gets, [&](const std::string &key) { return database.has(key); });
  }
}
