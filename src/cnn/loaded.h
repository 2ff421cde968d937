#pragma once
// The time in which a data source hands out its arrays.

#include <string>
#include <string_view>

#include "cermet/core/error.h"

namespace cermet::detail {

/// Keeps `load` and `purge` of a data source balanced. Throws in the name of `kernel` and its
/// `argument` where `load` answers false; `needed`: what the source should have had.
template <class Source>
class Loaded {
 public:
  Loaded(Source& source, std::string_view kernel, std::string_view label, std::string_view argument,
         std::string_view needed)
      : source_(source) {
    if (source.load()) return;
    fail({kernel, label, argument, "a data source whose load() answered false", std::string(needed),
          "Check the file or memory behind the data source."});
  }
  ~Loaded() { source_.purge(); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;

 private:
  Source& source_;
};

}  // namespace cermet::detail
