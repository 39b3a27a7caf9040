// SQLite with a write-ahead log.
#include <sqlite3.h>

#include "peer.hpp"

int main(int count, char **arguments) {
  take_arguments(count, arguments);
  auto sets = read_stream("sets.tsv");
  auto gets = read_lookups("gets.tsv", 200000);
  sqlite3 *db = nullptr;
  sqlite3_stmt *put = nullptr, *get = nullptr;
  auto execute = [&](const char *sql) {
    require(sqlite3_exec(db, sql, nullptr, nullptr, nullptr) == SQLITE_OK, sql);
  };
  auto open = [&](const char *synchronous) {
    sqlite3_finalize(put);
    sqlite3_finalize(get);
    sqlite3_close(db);
    std::string path = new_directory("sqlite") + "/cache.sqlite";
    require(sqlite3_open(path.c_str(), &db) == SQLITE_OK, "SQLite doesn't open");
    execute("PRAGMA journal_mode=WAL");
    execute((std::string("PRAGMA synchronous=") + synchronous).c_str());
    execute("PRAGMA cache_size=-65536");
    execute("CREATE TABLE cache(key TEXT PRIMARY KEY, value BLOB, expiry INTEGER) WITHOUT ROWID");
    sqlite3_prepare_v2(db, "REPLACE INTO cache VALUES(?,?,?)", -1, &put, nullptr);
    sqlite3_prepare_v2(db, "SELECT value FROM cache WHERE key=? AND expiry>?", -1, &get, nullptr);
    require(put && get, "SQLite doesn't prepare");
  };
  auto insert = [&](const Operation &set) {
    sqlite3_bind_text(put, 1, set.key.data(), set.key.size(), SQLITE_STATIC);
    sqlite3_bind_blob(put, 2, set.value.data(), set.value.size(), SQLITE_STATIC);
    sqlite3_bind_int64(put, 3, time(nullptr) + set.ttl);
    require(sqlite3_step(put) == SQLITE_DONE, "SQLite doesn't insert");
    sqlite3_reset(put);
  };
  open("FULL");
  row("sqlite", "set_fsync_1w", set_rate(sets, 1, insert), "sets/s");
  open("NORMAL");
  row("sqlite", "set_buffered_1w", set_rate(sets, 1, insert), "sets/s");
  open("NORMAL");
  auto start = Clock::now();
  for (size_t at = 0; at < sets.size(); at++) {
    if (at % 1000 == 0) execute("BEGIN");
    insert(sets[at]);
    if (at % 1000 == 999 || at + 1 == sets.size()) execute("COMMIT");
  }
  row("sqlite", "set_wal_normal_batch1000", sets.size() / seconds_since(start), "sets/s");
  store_hits("sqlite", gets, [&](const std::string &key) {
    sqlite3_bind_text(get, 1, key.data(), key.size(), SQLITE_STATIC);
    sqlite3_bind_int64(get, 2, time(nullptr));
    std::string copy;
    if (sqlite3_step(get) == SQLITE_ROW)
      copy.assign((const char *)sqlite3_column_blob(get, 0), sqlite3_column_bytes(get, 0));
    sqlite3_reset(get);
    return !copy.empty();
  });
  sqlite3_finalize(put);
  sqlite3_finalize(get);
  sqlite3_close(db);
}
