// A locked LRU of the standard library's parts.
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "peer.hpp"

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

int main(int count, char **arguments) {
  take_arguments(count, arguments);
  auto sets = read_stream("sets.tsv"), fill = read_stream("fill.tsv");
  LRU small(1000);
  auto start = Clock::now();
  for (auto &set : sets) small.set(set);
  row("cpp-lru", "mem_set_cap1000", seconds_since(start) * 1e9 / sets.size(), "ns/op");
  for (auto [label, count] : {std::pair("1k", 1000), std::pair("100k", 100000)}) {
    auto gets = read_lookups(std::string("hits") + label + ".tsv");
    LRU cache(count);
    for (int i = 0; i < count; i++) cache.set(fill[i]);
    auto get = [&](const std::string &key) { return cache.get(key) != nullptr; };
    walk(gets, 1, 1, get);
    std::string metric = std::string("mem_get_hit_") + label;
    row("cpp-lru", metric + "_1t", walk(gets, 1, 1, get) * 1e9 / gets.size(), "ns/op");
    row("cpp-lru", metric + "_2t", walk(gets, 2, 1, get) * 1e9 / gets.size(), "ns/op/thread");
  }
}
