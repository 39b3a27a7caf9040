// LMDB with its default flags: a sync for each transaction.
#include <lmdb.h>

#include "peer.hpp"

int main(int count, char **arguments) {
  take_arguments(count, arguments);
  auto sets = read_stream("sets.tsv");
  auto gets = read_lookups("gets.tsv", 200000);
  auto check = [](int code) {
    if (code != 0) fail(std::string("LMDB: ") + mdb_strerror(code));
  };
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
