// Redis with an append-only file, through hiredis.
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.hpp"

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

static redisContext *connect(const Redis &server) {
  redisContext *client = redisConnectUnix(server.socket.c_str());
  require(client && !client->err, "Redis doesn't connect");
  return client;
}

// So many clients, each with one set on its way; one thread waits for all of them.
static double clients_rate(Redis &server, const std::vector<Operation> &sets, size_t count) {
  std::vector<redisContext *> clients;
  std::vector<pollfd> waiting;
  for (size_t i = 0; i < count; i++) {
    clients.push_back(connect(server));
    waiting.push_back({clients[i]->fd, POLLIN, 0});
  }
  size_t sent = 0, done = 0;
  auto start = Clock::now();
  auto send_next = [&](redisContext *client) {
    if (sent == sets.size() || seconds_since(start) >= seconds_max) return;
    append(client, sets[sent++]);
    for (int is_written = 0; !is_written;)
      require(redisBufferWrite(client, &is_written) == REDIS_OK, "Redis takes no set");
  };
  for (auto *client : clients) send_next(client);
  while (done < sent) {
    require(poll(waiting.data(), waiting.size(), 60000) > 0, "Redis doesn't answer");
    for (size_t i = 0; i < count; i++) {
      if (!waiting[i].revents) continue;
      require(redisBufferRead(clients[i]) == REDIS_OK, "Redis hangs up");
      redisReply *reply = nullptr;
      require(redisGetReplyFromReader(clients[i], (void **)&reply) == REDIS_OK, "no Redis answers");
      if (!reply) continue;  // a part of it is there
      require(reply->type != REDIS_REPLY_ERROR, "Redis refuses");
      freeReplyObject(reply);
      done++;
      send_next(clients[i]);
    }
  }
  double rate = done / seconds_since(start);
  for (auto *client : clients) redisFree(client);
  return rate;
}

// A client with so many sets on their way at a time.
static double redis_rate(Redis &server, const std::vector<Operation> &sets, size_t depth, bool all) {
  redisContext *client = connect(server);
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

int main(int count, char **arguments) {
  take_arguments(count, arguments);
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
  for (size_t clients : {16, 64})
    row("redis", "set_fsync_" + std::to_string(clients) + "w", clients_rate(server, sets, clients),
        "sets/s");
  row("redis", "set_fsync_1w_pipeline64", redis_rate(server, sets, 64, false), "sets/s");
}
