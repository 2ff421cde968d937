#include "cermet/nn/archive.h"

#include <algorithm>
#include <array>

#include "catalog/kernels.h"
#include "cermet/core/type_name.h"

namespace cermet {
namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<Kernel> (*make)(Coder&, const Device&);
  std::unique_ptr<Kernel> (*copy)(const Kernel&, const Device&);  // null: of another class
};

template <class K>
constexpr Entry entry() {
  return {detail::type_name<K>(),
          [](Coder& coder, const Device& device) -> std::unique_ptr<Kernel> {
            return std::make_unique<K>(coder, device);
          },
          [](const Kernel& kernel, const Device& device) -> std::unique_ptr<Kernel> {
            const auto* own = dynamic_cast<const K*>(&kernel);
            if (own == nullptr) return nullptr;
            return std::make_unique<K>(own->copy(device));
          }};
}

template <class... K>
constexpr std::array<Entry, sizeof...(K)> entries(TypeList<K...>) {
  return {entry<K>()...};
}

// A kernel that is not in the list of its header cannot be found by name; tests/archive asks for
// every class of the public headers.
constexpr auto classes_of_the_library = entries(Kernels{});

const Entry* find(std::string_view name) {
  const auto found = std::ranges::find(classes_of_the_library, name, &Entry::name);
  return found == classes_of_the_library.end() ? nullptr : &*found;
}

}  // namespace

std::vector<std::string_view> archived_classes() {
  std::vector<std::string_view> names;
  names.reserve(std::size(classes_of_the_library));
  for (const Entry& entry : classes_of_the_library) names.push_back(entry.name);
  return names;
}

std::unique_ptr<Kernel> decode_kernel(Coder& coder, const Device& device,
                                      std::span<const std::string_view> classes) {
  const std::string name = coder.archived_class();
  if (name.empty()) {
    coder.refuse("class", "missing", "a kernel",
                 "Go to the kernel's place with Coder::at, by the key it was archived under.");
  }
  if (!classes.empty() && std::ranges::find(classes, name) == classes.end()) {
    coder.refuse("class", name, "one of the classes that were asked for",
                 "Allow the class if you trust the archive.");
  }
  const Entry* found = find(name);
  if (found == nullptr) {
    coder.refuse("class", name, "a kernel class of the library",
                 "Make a kernel of your own class with its constructor.");
  }
  return found->make(coder, device ? device : CreateSystemDefaultDevice());
}

// A member of the base, defined where the classes are known.
std::unique_ptr<Kernel> Kernel::copy(const Device& device) const {
  const Entry* found = find(class_name());
  std::unique_ptr<Kernel> made = found != nullptr ? found->copy(*this, device) : nullptr;
  if (!made) {
    complain("the class", "unknown to this function", "a kernel class of the library",
             "Copy a kernel of a class of your own through that class.");
  }
  return made;
}

}  // namespace cermet
