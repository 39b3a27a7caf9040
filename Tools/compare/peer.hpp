// What the comparison's programs in C++ share. Each is one peer, started as PEER STREAMS WORK SECONDS,
// and prints peer, metric, value, unit.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

inline std::string streams, work;
inline double seconds_max;

[[noreturn]] inline void fail(const std::string &what) {
  fprintf(stderr, "%s\n", what.c_str());
  exit(1);
}
// Takes no std::string, which would have to be built each time that it holds.
inline void require(bool holds, const char *what) {
  if (!holds) fail(what);
}
inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}
inline void row(const char *peer, const std::string &metric, double value, const char *unit) {
  printf("%s\t%s\t%.6g\t%s\n", peer, metric.c_str(), value, unit);
  fflush(stdout);
}

struct Operation {
  std::string key, value;
  int ttl;
};

inline std::vector<Operation> read_stream(const std::string &name, size_t most = SIZE_MAX) {
  std::ifstream file(streams + "/" + name);
  if (!file) fail(name + " can't be read");
  std::vector<Operation> operations;
  for (std::string line; operations.size() < most && std::getline(file, line);) {
    size_t a = line.find('\t'), b = line.find('\t', a + 1), c = line.find('\t', b + 1);
    operations.push_back({line.substr(a + 1, b - a - 1), line.substr(c + 1),
                          atoi(line.c_str() + b + 1)});
  }
  return operations;
}

// A stream of lookups: its distinct keys, and the order they are asked for in. The walk over the
// stream then costs little, and what is timed is the peer.
struct Lookups {
  std::vector<std::string> keys;
  std::vector<uint32_t> order;
  size_t size() const { return order.size(); }
};

inline Lookups read_lookups(const std::string &name, size_t most = SIZE_MAX) {
  Lookups lookups;
  std::unordered_map<std::string, uint32_t> seen;
  for (auto &operation : read_stream(name, most)) {
    auto [found, is_new] = seen.try_emplace(operation.key, lookups.keys.size());
    if (is_new) lookups.keys.push_back(operation.key);
    lookups.order.push_back(found->second);
  }
  return lookups;
}

inline std::string new_directory(const std::string &name) {
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
static double walk(const Lookups &gets, int threads, double least_hits, Get get) {
  std::atomic<size_t> hits{0};
  auto start = Clock::now();
  auto run = [&](size_t from) {
    size_t found = 0;
    for (size_t i = 0, at = from; i < gets.size(); i++) {
      found += get(gets.keys[gets.order[at]]);
      if (++at == gets.size()) at = 0;
    }
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

inline void store_hits(const char *peer, const Lookups &gets,
                       const std::function<bool(const std::string &)> &get) {
  row(peer, "persistent_get_1t", walk(gets, 1, 0.85, get) * 1e6 / gets.size(), "us/op");
}

inline void take_arguments(int count, char **arguments) {
  if (count != 4) fail(std::string("usage: ") + arguments[0] + " STREAMS WORK SECONDS");
  streams = arguments[1];
  work = arguments[2];
  seconds_max = atof(arguments[3]);
}
