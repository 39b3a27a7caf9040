#include <sqlite3.h>

/// `sqlite3_db_config` takes variadic arguments, which Swift can't pass.
static inline int hindsight_keep_log_at_close(sqlite3 *connection) {
  return sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}
