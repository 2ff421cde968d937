#pragma once
// What bad input must be answered with.

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "cermet/core/error.h"

namespace cermet::test {

inline void expect_refusal(const std::function<void()>& call, const std::string& text) {
  try {
    call();
    ADD_FAILURE() << "did not throw; wanted: " << text;
  } catch (const InvalidArgument& error) {
    EXPECT_EQ(error.what(), text);
  }
}

}  // namespace cermet::test
