#pragma once
// One GoogleTest for each row: Family/Rows.hold/name. A row marked quick has a name that ends in
// "_quick": --gtest_filter=*_quick runs the short ones alone.

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "subject.h"

namespace cermet::test {

class Rows : public testing::TestWithParam<SubjectPtr> {};

inline std::string test_name(const Row& row) { return row.name + (row.quick ? "_quick" : ""); }
inline std::string name_of_row(const testing::TestParamInfo<SubjectPtr>& info) {
  return test_name(info.param->row());
}
inline void PrintTo(const SubjectPtr& subject, std::ostream* out) { *out << subject->row().name; }

}  // namespace cermet::test
