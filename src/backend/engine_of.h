#pragma once
// Makes a backend's table from the catalog. A backend declares and defines, for every operator,
//   StepPtr prepare(const Op&, Descs, Derived&);
// in its own namespace; the table finds it by argument-dependent look-up. `Declared<Op>` of the
// backend declares it as a friend, so that no list of operators is kept but the catalog; a missing
// definition is a link error.

#include <array>
#include <cstring>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "cermet/core/engine.h"

namespace cermet::backend {

/// Converts to exactly T, so that an overload for a merely related operator does not answer.
template <class T>
struct only {
  template <class U>
  requires std::same_as<U, T>
  operator const U&() const;
};
template <class Op, class E>
concept Prepares = requires(only<Op> op, Descs descs, E& engine) {
  prepare(op, descs, engine);
};

/// Steps by operator bytes and descriptions, least recently used first to go.
class StepCache {
 public:
  template <class Make>
  StepPtr find_or_make(const OpView& op, Descs descs, Make&& make) {
    std::string key(reinterpret_cast<const char*>(&op.id), sizeof op.id);
    key.append(static_cast<const char*>(op.data), op.bytes);
    for (const TensorDesc& desc : descs)
      key.append(reinterpret_cast<const char*>(&desc), sizeof desc);
    {
      const std::scoped_lock lock(mutex_);
      if (const auto found = index_.find(key); found != index_.end()) {
        steps_.splice(steps_.end(), steps_, found->second);
        return found->second->second;
      }
    }
    StepPtr step = make();  // outside the lock: preparing may take milliseconds
    if (step) std::const_pointer_cast<Step>(step)->access = op.access;  // nobody else has it yet
    const std::scoped_lock lock(mutex_);
    if (const auto found = index_.find(key); found != index_.end()) return found->second->second;
    steps_.emplace_back(key, step);
    index_.emplace(std::move(key), std::prev(steps_.end()));
    if (steps_.size() > capacity) {
      index_.erase(steps_.front().first);
      steps_.pop_front();
    }
    return step;
  }

 private:
  static constexpr std::size_t capacity = 4096;
  std::mutex mutex_;
  std::list<std::pair<std::string, StepPtr>> steps_;
  std::unordered_map<std::string, decltype(steps_)::iterator> index_;
};

/// Free, so that the member named `prepare` does not hide the overloads.
template <class Op, class E>
StepPtr prepare_by_overload(const Op& op, Descs descs, E& engine) {
  static_assert(Prepares<Op, E>, "this backend declares no prepare() for exactly this operator");
  return prepare(op, descs, engine);
}

template <class Derived, template <class> class Declared, class Catalog, class Fusions>
class EngineOf;

template <class Derived, template <class> class Declared, class... Operators, class... Fused>
class EngineOf<Derived, Declared, TypeList<Operators...>, TypeList<Fused...>>
    : public Engine, private Declared<Operators>..., private Declared<Fused>... {
 public:
  StepPtr prepare(const OpView& op, Descs descs) final {
    const auto found = table().find(op.id);
    if (found == table().end())
      throw std::logic_error("no backend table entry for " + std::string(op.name));
    return cache_.find_or_make(op, descs, [&] { return make(op, descs, found->second); });
  }

 protected:
  using Entry = StepPtr (*)(const void*, Descs, Derived&);
  /// Runs one entry of the table; a backend wraps it to add conversions.
  virtual StepPtr make(const OpView& op, Descs descs, Entry entry) {
    return entry(op.data, descs, static_cast<Derived&>(*this));
  }

 private:
  template <class Op>
  static StepPtr entry_of(const void* op, Descs descs, Derived& engine) {
    return prepare_by_overload(*static_cast<const Op*>(op), descs, engine);
  }

  static const std::unordered_map<std::uint32_t, Entry>& table() {
    static const auto entries = [] {
      std::unordered_map<std::uint32_t, Entry> map{
          {op_id(Operators::name), &entry_of<Operators>}...,
          {op_id(Fused::name), &entry_of<Fused>}...};
      if (map.size() != sizeof...(Operators) + sizeof...(Fused))
        throw std::logic_error("two operators share an identity");
      return map;
    }();
    return entries;
  }
  StepCache cache_;
};

}  // namespace cermet::backend
