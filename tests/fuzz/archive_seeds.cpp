// Writes the inputs that archive_fuzz starts from, an archive of each kernel: archive_seeds FOLDER

#include <filesystem>
#include <iostream>

#include "archive/rows.h"
#include "cermet/core/coder.h"

int main(int count, char** words) {
  if (count != 2) {
    std::cerr << "usage: archive_seeds FOLDER\n";
    return 2;
  }
  const std::filesystem::path folder = words[1];
  std::filesystem::create_directories(folder);
  const cermet::Device device = cermet::Device::cpu(1);
  for (const auto& row : cermet::test::archive_rows()) {
    cermet::Coder coder;
    row.make(device)->encodeWithCoder(coder);
    coder.save(folder / row.name);
  }
  return 0;
}
