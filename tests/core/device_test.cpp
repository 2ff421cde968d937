// Which devices there are, and what is said of those that are not.

#include <gtest/gtest.h>

#include <algorithm>

#include "help.h"

namespace cermet::test {
namespace {

TEST(Devices, TheListStartsWithTheCpu) {
  const auto found = list_devices();
  ASSERT_GE(found.size(), 2U);
  EXPECT_EQ(found[0].name, "cpu");
  EXPECT_EQ(found[0].problem, "");
  EXPECT_EQ(found[0].description.find("CPU ("), 0U);
  EXPECT_EQ(found[1].name.find("cuda"), 0U);
}

TEST(Devices, WhatIsListedOpensOrSaysWhyNot) {
  for (const DeviceSummary& one : list_devices()) {
    if (one.problem.empty()) {
      EXPECT_NE(Device::named(one.name).name().find(one.description), std::string::npos);
      continue;
    }
    try {
      static_cast<void>(Device::named(one.name));
      ADD_FAILURE() << one.name << " opened in spite of: " << one.problem;
    } catch (const DeviceError& problem) {
      EXPECT_EQ(problem.what(), one.problem);
      EXPECT_EQ(problem.code(), CommandBufferError::NotPermitted);
    }
    EXPECT_EQ(one.problem.back(), '.') << "one sentence: " << one.problem;
  }
}

#ifdef CERMET_HAS_CUDA
TEST(Devices, TheCudaBackendLoadsWithoutAGpu) {
  for (const DeviceSummary& one : list_devices()) {
    EXPECT_EQ(one.problem.find("no CUDA backend"), std::string::npos) << one.problem;
    EXPECT_EQ(one.problem.find("cannot be loaded"), std::string::npos) << one.problem;
  }
}
#endif

TEST(Devices, NamesThatAreNone) {
  for (const char* name : {"", "gpu", "cpu:", "cpu:0", "cpu:x", "cpu:2x", "cuda:", "cuda:-1"}) {
    EXPECT_THROW(static_cast<void>(Device::named(name)), InvalidArgument) << name;
  }
  EXPECT_THROW(static_cast<void>(Device::cuda(-1)), InvalidArgument);
}

TEST(Buffers, CopiesInAndOutOfAPart) {
  const Buffer buffer = tested().makeBuffer(16);
  const float two[] = {1.5F, -2.0F};
  buffer.copy_in(two, sizeof two, 4);
  EXPECT_EQ(buffer.values<float>(), (std::vector<float>{0, 1.5F, -2.0F, 0}));
  EXPECT_EQ(buffer.as<float>()[2], -2.0F);
  float one = 0;
  buffer.copy_out(&one, sizeof one, 8);
  EXPECT_EQ(one, -2.0F);
  EXPECT_THROW(buffer.copy_in(two, 8, 12), InvalidArgument);
  EXPECT_THROW(buffer.copy_out(&one, 4, 17), InvalidArgument);
  EXPECT_THROW(buffer.copy_in(nullptr, 4), InvalidArgument);
  EXPECT_EQ(buffer.values<float>(), (std::vector<float>{0, 1.5F, -2.0F, 0}));
}

}  // namespace
}  // namespace cermet::test
