// The comparison's programs in C and C++: LevelDB, LMDB, SQLite, Redis (through hiredis), and a locked
// LRU of the standard library's parts. Prints peer, metric, value, unit.
// Usage: native STREAMS WORK SECONDS leveldb|lmdb|sqlite|redis|lru
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <leveldb/db.h>
#include <lmdb.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

static std::string streams, work;
static double seconds_max;

[[noreturn]] static void fail(const std::string &what) {
  fprintf(stderr, "native: %s\n", what.c_str());
  exit(1);
}
static void require(bool holds, const std::string &what) {
  if (!holds) fail(what);
}
static double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
static void row(const char *peer, const std::string &metric, double value, const char *unit) {
  printf("%s\t%s\t%.6g\t%s\n", peer, metric.c_str(), value, unit);
  fflush(stdout);
}

struct Operation {
  std::string key, value;
  int ttl;
};

static std::vector<Operation> read_stream(const std::string &name, size_t most = SIZE_MAX) {
  std::ifstream file(streams + "/" + name);
  require(bool(file), name + " can't be read");
  std::vector<Operation> operations;
  for (std::string line; operations.size() < most && std::getline(file, line);) {
    size_t a = line.find('\t'), b = line.find('\t', a + 1), c = line.find('\t', b + 1);
    operations.push_back({line.substr(a + 1, b - a - 1), line.substr(c + 1),
                          atoi(line.c_str() + b + 1)});
  }
  return operations;
}

static std::string new_directory(const std::string &name) {
  std::string path = work + "/" + name;
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

// Sets a second, from one thread or many, until the time is over or the stream is.
template <class Set>
static double set_rate(const std::vector<Operation> &sets, int threads, Set set) {
  std::atomic<size_t> next{0}, done{0};
  auto start = Clock::now();
  auto run = [&] {
    for (;;) {
      size_t at = next++;
      if (at >= sets.size() || seconds_since(start) >= seconds_max) return;
      set(sets[at]);
      done++;
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; i++) others.emplace_back(run);
  run();
  for (auto &thread : others) thread.join();
  return done / seconds_since(start);
}

// Seconds for one thread's walk, while `threads` of them walk from different places.
template <class Get>
static double walk(const std::vector<Operation> &gets, int threads, double least_hits, Get get) {
  std::atomic<size_t> hits{0};
  auto start = Clock::now();
  auto run = [&](size_t from) {
    size_t found = 0;
    for (size_t i = 0; i < gets.size(); i++) found += get(gets[(from + i) % gets.size()].key);
    hits += found;
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; i++) others.emplace_back(run, gets.size() / threads * i);
  run(0);
  for (auto &thread : others) thread.join();
  double taken = seconds_since(start);
  require(hits >= least_hits * threads * gets.size(), "too few hits");
  return taken;
}

static void store_hits(const char *peer, const std::vector<Operation> &gets,
                       const std::function<bool(const std::string &)> &get) {
  row(peer, "persistent_get_1t", walk(gets, 1, 0.85, get) * 1e6 / gets.size(), "us/op");
}

static std::unique_ptr<leveldb::DB> open_leveldb(const std::string &path) {
  leveldb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = 256 << 20;  // the whole log is there to be replayed
  leveldb::DB *db = nullptr;
  require(leveldb::DB::Open(options, path, &db).ok(), "LevelDB doesn't open");
  return std::unique_ptr<leveldb::DB>(db);
}

static void leveldb_peer() {
  auto sets = read_stream("sets.tsv"), gets = read_stream("gets.tsv", 100000);
  auto put = [](leveldb::DB &db, const Operation &set, bool sync) {
    leveldb::WriteOptions options;
    options.sync = sync;
    require(db.Put(options, set.key, set.value).ok(), "LevelDB doesn't put");
  };
  std::string path = new_directory("leveldb");
  auto db = open_leveldb(path);
  auto start = Clock::now();
  for (auto &set : sets) put(*db, set, false);
  row("leveldb", "set_buffered_1w", sets.size() / seconds_since(start), "sets/s");
  double bytes = 0;
  for (auto &file : fs::directory_iterator(path))
    if (file.path().extension() == ".log") bytes += file.file_size();
  row("leveldb", "disk_log", bytes / sets.size(), "B/event");
  db.reset();
  start = Clock::now();
  db = open_leveldb(path);
  double taken = seconds_since(start);
  row("leveldb", "recover_200k", taken * 1e3, "ms");
  row("leveldb", "recover_200k_rate", sets.size() / taken, "events/s");
  store_hits("leveldb", gets, [&](const std::string &key) {
    std::string value;
    return db->Get({}, key, &value).ok() && !value.empty();
  });
  for (int threads : {1, 16, 64}) {
    db.reset();
    db = open_leveldb(new_directory("leveldb"));
    row("leveldb", "set_fsync_" + std::to_string(threads) + "w",
        set_rate(sets, threads, [&](const Operation &set) { put(*db, set, true); }), "sets/s");
  }
}

static void lmdb_peer() {
  auto sets = read_stream("sets.tsv"), gets = read_stream("gets.tsv", 200000);
  auto check = [](int code) { require(code == 0, std::string("LMDB: ") + mdb_strerror(code)); };
  std::string path = new_directory("lmdb");
  MDB_env *environment;
  MDB_txn *transaction;
  MDB_dbi table;
  check(mdb_env_create(&environment));
  check(mdb_env_set_mapsize(environment, 1ul << 30));
  check(mdb_env_open(environment, path.c_str(), 0, 0600));
  check(mdb_txn_begin(environment, nullptr, 0, &transaction));
  check(mdb_dbi_open(transaction, nullptr, 0, &table));
  check(mdb_txn_commit(transaction));
  auto put = [&](const Operation &set) {
    MDB_val key{set.key.size(), (void *)set.key.data()};
    MDB_val value{set.value.size(), (void *)set.value.data()};
    check(mdb_put(transaction, table, &key, &value, 0));
  };
  row("lmdb", "set_fsync_1w", set_rate(sets, 1, [&](const Operation &set) {
        check(mdb_txn_begin(environment, nullptr, 0, &transaction));
        put(set);
        check(mdb_txn_commit(transaction));
      }), "sets/s");
  for (size_t at = 0; at < sets.size();) {
    check(mdb_txn_begin(environment, nullptr, 0, &transaction));
    for (size_t end = std::min(at + 10000, sets.size()); at < end; at++) put(sets[at]);
    check(mdb_txn_commit(transaction));
  }
  check(mdb_txn_begin(environment, nullptr, MDB_RDONLY, &transaction));
  mdb_txn_reset(transaction);
  store_hits("lmdb", gets, [&](const std::string &wanted) {
    check(mdb_txn_renew(transaction));
    MDB_val key{wanted.size(), (void *)wanted.data()}, value;
    std::string copy;
    if (mdb_get(transaction, table, &key, &value) == 0)
      copy.assign((const char *)value.mv_data, value.mv_size);
    mdb_txn_reset(transaction);
    return !copy.empty();
  });
  mdb_txn_abort(transaction);
  mdb_env_close(environment);
}

static void sqlite_peer() {
  auto sets = read_stream("sets.tsv"), gets = read_stream("gets.tsv", 200000);
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

// A private server on a socket in its own directory.
struct Redis {
  std::string path, socket;
  pid_t parent = getpid(), process;
  double start_seconds;

  Redis(const std::string &directory, const char *fsync)
      : path(directory), socket(directory + "/socket"), process(fork()) {
    if (process == 0) {
      // It ends with this program, however that ends.
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(125);
      if (!freopen("/dev/null", "w", stdout)) _exit(126);
      execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket.c_str(), "--dir",
             path.c_str(), "--save", "", "--appendonly", "yes", "--appendfsync", fsync,
             "--auto-aof-rewrite-percentage", "0", (char *)nullptr);
      _exit(127);
    }
    auto start = Clock::now();
    for (bool ready = false; !ready;) {
      require(seconds_since(start) < 60 && waitpid(process, nullptr, WNOHANG) == 0,
              "redis-server doesn't start");
      redisContext *client = redisConnectUnix(socket.c_str());
      if (client && !client->err) {
        auto *reply = (redisReply *)redisCommand(client, "PING");
        ready = reply && reply->type == REDIS_REPLY_STATUS;
        if (reply) freeReplyObject(reply);
      }
      if (client) redisFree(client);
      if (!ready) usleep(500);
    }
    start_seconds = seconds_since(start);
  }
  ~Redis() {
    kill(process, SIGTERM);
    waitpid(process, nullptr, 0);
  }
};

static void append(redisContext *client, const Operation &set) {
  redisAppendCommand(client, "SET %b %b EX %d", set.key.data(), set.key.size(), set.value.data(),
                     set.value.size(), set.ttl);
}
static void take(redisContext *client) {
  redisReply *reply = nullptr;
  require(redisGetReply(client, (void **)&reply) == REDIS_OK && reply->type != REDIS_REPLY_ERROR,
          "Redis refuses");
  freeReplyObject(reply);
}

// A client with so many sets on their way at a time.
static double redis_rate(Redis &server, const std::vector<Operation> &sets, size_t depth, bool all) {
  redisContext *client = redisConnectUnix(server.socket.c_str());
  require(client && !client->err, "Redis doesn't connect");
  size_t done = 0;
  auto start = Clock::now();
  while (done < sets.size() && (all || seconds_since(start) < seconds_max)) {
    size_t count = std::min(depth, sets.size() - done);
    for (size_t i = 0; i < count; i++) append(client, sets[done + i]);
    for (size_t i = 0; i < count; i++) take(client);
    done += count;
  }
  double rate = done / seconds_since(start);
  redisFree(client);
  return rate;
}

static void redis_peer() {
  auto sets = read_stream("sets.tsv");
  {
    Redis server(new_directory("redis"), "everysec");
    row("redis", "set_buffered_1w", redis_rate(server, sets, 1, false), "sets/s");
  }
  double empty;
  {
    Redis server(new_directory("redis"), "everysec");
    empty = server.start_seconds;
    row("redis", "set_buffered_1w_pipeline64", redis_rate(server, sets, 64, true), "sets/s");
  }
  double bytes = 0;
  for (auto &file : fs::recursive_directory_iterator(work + "/redis"))
    if (file.path().extension() == ".aof") bytes += file.file_size();
  row("redis", "disk_log", bytes / sets.size(), "B/event");
  {
    Redis server(work + "/redis", "everysec");
    row("redis", "recover_200k", (server.start_seconds - empty) * 1e3, "ms");
    row("redis", "recover_200k_rate", sets.size() / (server.start_seconds - empty), "events/s");
  }
  Redis server(new_directory("redis"), "always");
  row("redis", "set_fsync_1w", redis_rate(server, sets, 1, false), "sets/s");
  row("redis", "set_fsync_1w_pipeline64", redis_rate(server, sets, 64, false), "sets/s");
}

// What one writes first: a map, a list, a mutex, an expiry.
class LRU {
  struct Entry {
    std::string key;
    std::shared_ptr<const std::string> value;
    Clock::time_point expiry;
  };
  std::list<Entry> order;
  std::unordered_map<std::string, std::list<Entry>::iterator> index;
  std::mutex mutex;
  size_t limit;

 public:
  explicit LRU(size_t limit) : limit(limit) {}
  void set(const Operation &operation) {
    auto value = std::make_shared<const std::string>(operation.value);
    std::lock_guard lock(mutex);
    auto expiry = Clock::now() + std::chrono::seconds(operation.ttl);
    auto [found, isNew] = index.try_emplace(operation.key);
    if (!isNew) order.erase(found->second);
    order.push_front({operation.key, std::move(value), expiry});
    found->second = order.begin();
    if (order.size() <= limit) return;
    index.erase(order.back().key);
    order.pop_back();
  }
  std::shared_ptr<const std::string> get(const std::string &key) {
    std::lock_guard lock(mutex);
    auto found = index.find(key);
    if (found == index.end() || found->second->expiry <= Clock::now()) return nullptr;
    order.splice(order.begin(), order, found->second);
    return found->second->value;
  }
};

static void lru_peer() {
  auto sets = read_stream("sets.tsv"), fill = read_stream("fill.tsv");
  LRU small(1000);
  auto start = Clock::now();
  for (auto &set : sets) small.set(set);
  row("cpp-lru", "mem_set_cap1000", seconds_since(start) * 1e9 / sets.size(), "ns/op");
  for (auto [label, count] : {std::pair("1k", 1000), std::pair("100k", 100000)}) {
    auto gets = read_stream(std::string("hits") + label + ".tsv");
    LRU cache(count);
    for (int i = 0; i < count; i++) cache.set(fill[i]);
    auto get = [&](const std::string &key) { return cache.get(key) != nullptr; };
    walk(gets, 1, 1, get);
    std::string metric = std::string("mem_get_hit_") + label;
    row("cpp-lru", metric + "_1t", walk(gets, 1, 1, get) * 1e9 / gets.size(), "ns/op");
    row("cpp-lru", metric + "_2t", walk(gets, 2, 1, get) * 1e9 / gets.size(), "ns/op/thread");
  }
}

int main(int count, char **arguments) {
  if (count != 5) fail("usage: native STREAMS WORK SECONDS leveldb|lmdb|sqlite|redis|lru");
  streams = arguments[1];
  work = arguments[2];
  seconds_max = atof(arguments[3]);
  std::string peer = arguments[4];
  if (peer == "leveldb") leveldb_peer();
  else if (peer == "lmdb") lmdb_peer();
  else if (peer == "sqlite") sqlite_peer();
  else if (peer == "redis") redis_peer();
  else if (peer == "lru") lru_peer();
  else fail("no such peer: " + peer);
}
