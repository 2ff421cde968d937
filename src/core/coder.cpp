#include "cermet/core/coder.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "cermet/core/file.h"
#include "cermet/core/image.h"
#include "cermet/core/safetensors.h"

namespace cermet {

using nlohmann::json;

namespace {

constexpr std::string_view version_key = "cermet_archive", structure_key = "structure";
constexpr std::string_view class_key = "class", same_key = "same";
constexpr std::size_t deepest = 64;  // parts within parts; the library's own archives have five
constexpr std::string_view damaged = "Write the archive again, or fetch it again.";

/// At most a line of something that a damaged file may have made long.
std::string excerpt(std::string text) {
  constexpr std::size_t longest = 80;
  if (text.size() > longest) text.replace(longest, std::string::npos, "...");
  return text;
}
std::string excerpt(const json& value) {
  return excerpt(value.dump(-1, ' ', true, json::error_handler_t::replace));
}

[[noreturn]] void fail_archive(const std::string& name, std::string_view argument, std::string got,
                               std::string needed, std::string_view remedy = damaged) {
  fail_file({"Archive", name, argument, std::move(got), std::move(needed), std::string(remedy)});
}

json parse_structure(const std::string& name, const std::string& text) {
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, json::parse_event_t event, const json& parsed) {
    if (static_cast<std::size_t>(depth) > deepest) {
      fail_archive(name, structure_key, "nested too deep",
                   fmt::format("at most {} levels", deepest));
    }
    if (event == json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key &&
               !keys.back().insert(parsed.get<std::string>()).second) {
      fail_archive(name, fmt::format("key {}", excerpt(parsed)), "there twice", "each key once");
    }
    return true;
  };
  try {
    json structure = json::parse(text, check);
    if (structure.is_object()) return structure;
    fail_archive(name, structure_key, excerpt(structure), "an object");
  } catch (const json::exception& error) {
    fail_archive(name, structure_key,
                 fmt::format("not JSON ({})", excerpt(std::string(error.what()))), "a JSON object");
  }
}

int parse_version(const std::string& name, const SafeTensors& contents) {
  const auto found = contents.metadata.find(std::string(version_key));
  if (found == contents.metadata.end()) {
    fail_archive(name, version_key, "missing", "the version of the archive",
                 "This is a safetensors file, but no archive: check that it is the right file.");
  }
  const std::string& text = found->second;
  int version = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (problem != std::errc() || end != text.data() + text.size() || version < 1) {
    fail_archive(name, version_key, fmt::format("\"{}\"", excerpt(text)), "a whole number from 1");
  }
  if (version > Coder::newest_version) {
    fail_archive(name, "the version", fmt::format("{}", version),
                 fmt::format("at most {}", Coder::newest_version),
                 "A newer Cermet wrote the archive: read it with that one.");
  }
  return version;
}

/// The user's classes, by the names they were registered under.
struct Registry {
  std::mutex mutex;
  std::map<std::string, CodableFactory, std::less<>> factories;
  static Registry& instance() {
    static Registry registry;
    return registry;
  }
  CodableFactory find(std::string_view name) {
    const std::scoped_lock lock(mutex);
    const auto found = factories.find(name);
    return found == factories.end() ? nullptr : found->second;
  }
};

}  // namespace

namespace detail {

struct Archive {
  bool reading = false;
  std::string name;
  int version = Coder::newest_version;
  json structure = json::object();
  std::map<std::string, SafeTensor, std::less<>> tensors;
  Device device;
  std::map<const Codable*, std::string> paths;              // of objects written
  std::map<std::string, std::shared_ptr<Codable>> objects;  // written or read, by path
  std::set<std::string> begun;                              // paths of objects that are being read
};

}  // namespace detail

/// Nodes of a JSON object do not move when others are added.
struct Coder::Place {
  json* node;
  std::string path;            // "" at the top, else ending in '/'
  std::string subject, label;  // of messages

  [[nodiscard]] std::string field(std::string_view key) const {
    return fmt::format("{}{}", path, key);
  }
};

namespace {

/// Where a field is written; refuses a name that an archive cannot have or has.
json& fresh(json& node, const std::string& subject, const std::string& label, std::string_view key,
            const std::string& field) {
  const bool usable = !key.empty() && key.find('/') == std::string_view::npos && key != class_key &&
                      key != same_key;
  if (!usable) {
    fail({subject, label, "the key", fmt::format("\"{}\"", key),
          "a name without '/' that is neither \"class\" nor \"same\"", ""});
  }
  if (node.contains(key)) {
    fail({subject, label, field, "written twice", "each field once",
          "Give every field, and every object in an archive, a key of its own."});
  }
  return node[std::string(key)];
}

/// The object at a path like "conv1/dataSource", or null.
json* find(json& structure, std::string_view path) {
  json* node = &structure;
  while (node->is_object()) {
    const std::size_t end = path.find('/');
    const auto part = node->find(std::string(path.substr(0, end)));
    if (part == node->end()) return nullptr;
    node = &*part;
    if (end == std::string_view::npos) return node->is_object() ? node : nullptr;
    path.remove_prefix(end + 1);
  }
  return nullptr;
}

}  // namespace

// ---- archives -----------------------------------------------------------------------------------

Coder::Coder() : archive_(std::make_shared<detail::Archive>()) {
  place_ = std::make_shared<Place>(Place{&archive_->structure, "", "Archive", ""});
}

Coder::Coder(std::shared_ptr<detail::Archive> archive, std::shared_ptr<const Place> place)
    : archive_(std::move(archive)), place_(std::move(place)) {}

Coder::Coder(std::span<const std::byte> bytes, const std::string& name) : Coder() {
  SafeTensors contents = parse_safetensors(bytes, name);
  archive_->reading = true;
  archive_->name = name;
  archive_->version = parse_version(name, contents);
  const auto structure = contents.metadata.find(std::string(structure_key));
  if (structure == contents.metadata.end()) {
    fail_archive(name, structure_key, "missing", "a JSON object");
  }
  archive_->structure = parse_structure(name, structure->second);
  for (SafeTensor& tensor : contents.tensors) {
    std::string path = tensor.name;
    archive_->tensors.emplace(std::move(path), std::move(tensor));
  }
  place_ = std::make_shared<Place>(Place{&archive_->structure, "", "Archive", name});
}

Coder Coder::open(const std::filesystem::path& file) {
  return Coder(read_file(file), file.string());
}

std::vector<std::byte> Coder::bytes() const {
  if (is_reading()) {
    fail({"Archive", archive_->name, "the coder", "one that reads", "one that was written to",
          "Make the coder without arguments."});
  }
  SafeTensors contents;
  contents.metadata.emplace(version_key, fmt::format("{}", newest_version));
  contents.metadata.emplace(structure_key, archive_->structure.dump());
  for (const auto& [path, tensor] : archive_->tensors) contents.tensors.push_back(tensor);
  return format_safetensors(contents);
}

void Coder::save(const std::filesystem::path& file) const { write_file_atomically(file, bytes()); }

bool Coder::is_reading() const { return archive_->reading; }
int Coder::version() const { return archive_->version; }
const Device& Coder::device() const { return archive_->device; }

// ---- places -------------------------------------------------------------------------------------

void Coder::refuse(std::string_view key, std::string got, std::string needed,
                   std::string remedy) const {
  if (remedy.empty()) remedy = damaged;
  fail_file({place_->subject, archive_->name, place_->field(key), std::move(got), std::move(needed),
             std::move(remedy)});
}

bool Coder::contains(std::string_view key) const {
  return place_->node->is_object() && place_->node->contains(key);
}

Coder Coder::at(std::string_view key) const {
  json* node = nullptr;
  if (is_reading()) {
    if (!contains(key)) {
      refuse(key, "missing", "an object", "Check that this is the right archive, and its parts.");
    }
    node = &(*place_->node)[std::string(key)];
    if (!node->is_object()) refuse(key, excerpt(*node), "an object");
  } else {
    node = &fresh(*place_->node, place_->subject, place_->label, key, place_->field(key));
    *node = json::object();
  }
  return {archive_, std::make_shared<Place>(
                        Place{node, place_->field(key) + "/", place_->subject, place_->label})};
}

std::string Coder::archived_class() const {
  if (!contains(class_key)) return {};
  const json& name = (*place_->node)[std::string(class_key)];
  if (!name.is_string()) refuse(class_key, excerpt(name), "the name of a class");
  return name.get<std::string>();
}

void Coder::begin(std::string_view class_name, std::string_view label, const Device& device) {
  const std::string here = archived_class();
  if (is_reading()) {
    archive_->device = device;
    if (here != class_name) {
      refuse(class_key, here.empty() ? "missing" : excerpt(here), std::string(class_name),
             "Make an object of the class that the archive holds; archived_class() tells it.");
    }
  } else {
    if (!place_->node->empty()) {
      fail({class_name, label, "the coder's place",
            here.empty() ? "in use" : fmt::format("taken by {}", here), "an empty one",
            "Encode each object of an archive to coder.at(key), with a key of its own."});
    }
    (*place_->node)[std::string(class_key)] = std::string(class_name);
  }
  Place place = *place_;
  place.subject = class_name;
  place.label = is_reading() ? archive_->name : std::string(label);
  place_ = std::make_shared<Place>(std::move(place));
}

// ---- fields -------------------------------------------------------------------------------------

namespace {

/// Marks an object as being read; objects within objects may be as deep as places within places.
struct Begun {
  Begun(std::set<std::string>& paths, const std::string& path)
      : is_circle(paths.size() >= deepest || !paths.insert(path).second),
        paths_(paths),
        path_(path) {}
  ~Begun() {
    if (!is_circle) paths_.erase(path_);
  }
  Begun(const Begun&) = delete;
  Begun& operator=(const Begun&) = delete;
  const bool is_circle;

 private:
  std::set<std::string>& paths_;
  std::string path_;
};

const json& found(const Coder& coder, const json& node, std::string_view key,
                  std::string_view needed) {
  if (!coder.contains(key)) coder.refuse(key, "missing", std::string(needed));
  return node[std::string(key)];
}

}  // namespace

void Coder::operator()(std::string_view key, bool& value) const {
  if (!is_reading()) {
    fresh(*place_->node, place_->subject, place_->label, key, place_->field(key)) = value;
    return;
  }
  const json& field = found(*this, *place_->node, key, "true or false");
  if (!field.is_boolean()) refuse(key, excerpt(field), "true or false");
  value = field.get<bool>();
}

std::int64_t Coder::code_signed(std::string_view key, std::int64_t value, std::int64_t least,
                                std::int64_t most) const {
  if (!is_reading()) {
    fresh(*place_->node, place_->subject, place_->label, key, place_->field(key)) = value;
    return value;
  }
  const std::string needed = fmt::format("a whole number from {} to {}", least, most);
  const json& field = found(*this, *place_->node, key, needed);
  const bool fits = field.is_number_unsigned()
                        ? field.get<std::uint64_t>() <= static_cast<std::uint64_t>(most)
                        : field.is_number_integer() && field.get<std::int64_t>() >= least;
  if (!fits) refuse(key, excerpt(field), needed);
  return field.get<std::int64_t>();
}

std::uint64_t Coder::code_unsigned(std::string_view key, std::uint64_t value,
                                   std::uint64_t most) const {
  if (!is_reading()) {
    fresh(*place_->node, place_->subject, place_->label, key, place_->field(key)) = value;
    return value;
  }
  const std::string needed = fmt::format("a whole number from 0 to {}", most);
  const json& field = found(*this, *place_->node, key, needed);
  if (!field.is_number_unsigned() || field.get<std::uint64_t>() > most) {
    refuse(key, excerpt(field), needed);
  }
  return field.get<std::uint64_t>();
}

// JSON has no infinities and no NaN: they are strings. Every other double survives its text.
double Coder::code_number(std::string_view key, double value, double most) const {
  if (!is_reading()) {
    json& field = fresh(*place_->node, place_->subject, place_->label, key, place_->field(key));
    if (std::isnan(value)) {
      field = "NaN";
    } else if (std::isinf(value)) {
      field = value > 0 ? "Infinity" : "-Infinity";
    } else {
      field = value;
    }
    return value;
  }
  constexpr std::string_view needed = "a number in range, \"NaN\", \"Infinity\" or \"-Infinity\"";
  const json& field = found(*this, *place_->node, key, needed);
  if (field == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (field == "Infinity") return std::numeric_limits<double>::infinity();
  if (field == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (!field.is_number() || !(std::abs(field.get<double>()) <= most)) {
    refuse(key, excerpt(field), std::string(needed));
  }
  return field.get<double>();
}

void Coder::operator()(std::string_view key, float& value) const {
  const double coded =
      code_number(key, value, static_cast<double>(std::numeric_limits<float>::max()));
  if (is_reading()) value = static_cast<float>(coded);
}
void Coder::operator()(std::string_view key, double& value) const {
  const double coded = code_number(key, value, std::numeric_limits<double>::max());
  if (is_reading()) value = coded;
}
void Coder::operator()(std::string_view key, std::optional<float>& value) const {
  bool given = value.has_value();
  const Coder part = at(key);
  part("given", given);
  float number = value.value_or(0.0F);
  if (given) part("value", number);
  if (is_reading()) value = given ? std::optional(number) : std::nullopt;
}

void Coder::operator()(std::string_view key, std::string& value) const {
  if (!is_reading()) {
    json& field = fresh(*place_->node, place_->subject, place_->label, key, place_->field(key));
    field = value;
    try {
      static_cast<void>(field.dump());
    } catch (const json::exception&) {
      fail({place_->subject, "", place_->field(key), "not UTF-8", "UTF-8 text", ""});
    }
    return;
  }
  const json& field = found(*this, *place_->node, key, "a string");
  if (!field.is_string()) refuse(key, excerpt(field), "a string");
  value = field.get<std::string>();
}

template <std::size_t N>
void Coder::code_integers(std::string_view key, const std::array<std::size_t*, N>& values) const {
  if (!is_reading()) {
    json list = json::array();
    for (const std::size_t* value : values) list.push_back(*value);
    fresh(*place_->node, place_->subject, place_->label, key, place_->field(key)) = std::move(list);
    return;
  }
  const std::string needed = fmt::format("a list of {} whole numbers from 0", N);
  const json& field = found(*this, *place_->node, key, needed);
  if (!field.is_array() || field.size() != N) refuse(key, excerpt(field), needed);
  for (std::size_t i = 0; i < N; ++i) {
    if (!field[i].is_number_unsigned()) refuse(key, excerpt(field), needed);
    *values[i] = field[i].get<std::size_t>();
  }
}

void Coder::operator()(std::string_view key, Offset& value) const {
  const Coder part = at(key);
  part("x", value.x);
  part("y", value.y);
  part("z", value.z);
}
void Coder::operator()(std::string_view key, Size& value) const {
  code_integers<3>(key, {&value.width, &value.height, &value.depth});
}
void Coder::operator()(std::string_view key, Region& value) const {
  Origin& o = value.origin;
  Size& s = value.size;
  code_integers<6>(key, {&o.x, &o.y, &o.z, &s.width, &s.height, &s.depth});
}

// ---- tensors ------------------------------------------------------------------------------------

void Coder::operator()(std::string_view key, std::vector<float>& values) const {
  const std::string name = place_->field(key);
  if (!is_reading()) {
    const std::array shape{values.size()};
    tensor(key, values, shape);
    return;
  }
  const auto entry = archive_->tensors.find(name);
  if (entry == archive_->tensors.end()) refuse(key, "missing", "a tensor of floats");
  const SafeTensor& tensor = entry->second;
  if (tensor.dtype != "F32") refuse(key, tensor.dtype, "F32");
  values.resize(tensor.data.size() / sizeof(float));  // the file has as many
  if (!values.empty())                                // an empty vector may have no address
    std::memcpy(values.data(), tensor.data.data(), values.size() * sizeof(float));
}

void Coder::tensor(std::string_view key, std::vector<float>& values,
                   std::span<const std::size_t> shape) const {
  const std::string name = place_->field(key);
  std::vector<std::int64_t> wanted(shape.begin(), shape.end());
  if (!is_reading()) {
    SafeTensor tensor{name, "F32", std::move(wanted), {}};
    const auto bytes = std::as_bytes(std::span(values));
    tensor.data.assign(bytes.begin(), bytes.end());
    if (!archive_->tensors.emplace(name, std::move(tensor)).second) {
      fail({place_->subject, place_->label, name, "written twice", "each field once", ""});
    }
    return;
  }
  const auto entry = archive_->tensors.find(name);
  if (entry != archive_->tensors.end() && entry->second.shape != wanted) {
    const auto text = [](const std::vector<std::int64_t>& sizes) {
      std::string list = "a tensor [";
      for (const std::int64_t size : sizes) {
        if (list.back() != '[') list += ", ";
        list += fmt::format("{}", size);
      }
      return list + "]";
    };
    refuse(key, excerpt(text(entry->second.shape)), text(wanted));
  }
  (*this)(key, values);
}

// ---- objects ------------------------------------------------------------------------------------

void Codable::encodeWithCoder(Coder& coder) const {
  if (!supportsSecureCoding() || archive_name().empty()) {
    fail({"Archive", "", "the object", "of a class whose supportsSecureCoding() is false",
          "one that can be archived", "Override what Codable declares."});
  }
  Coder place = coder;
  place.begin(archive_name(), "", coder.device());
  const_cast<Codable&>(*this).code(place);  // which writes, and so changes nothing
}

void register_codable(const std::string& name, CodableFactory factory) {
  if (name.empty() || !factory) {
    fail({"register_codable", name, name.empty() ? "name" : "factory", "empty", "one", ""});
  }
  Registry& registry = Registry::instance();
  const std::scoped_lock lock(registry.mutex);
  registry.factories[name] = std::move(factory);
}

std::shared_ptr<Codable> Coder::code_object(std::string_view key,
                                            const std::shared_ptr<Codable>& object,
                                            std::span<const Stock> stock) const {
  const std::string path = place_->field(key);
  if (!is_reading()) {
    json& field = fresh(*place_->node, place_->subject, place_->label, key, path);
    if (!object) return nullptr;  // which leaves null
    const bool is_stock =
        std::ranges::find(stock, object->archive_name(), &Stock::name) != stock.end();
    if (const auto known = archive_->paths.find(object.get()); known != archive_->paths.end()) {
      field = {{same_key, known->second}};
      return object;
    }
    if (!object->supportsSecureCoding() || object->archive_name().empty()) {
      fail({place_->subject, place_->label, path,
            "an object that cannot be archived (its supportsSecureCoding() is false)",
            "one that can, a stock one, or none",
            "Override what Codable declares, or set another object before archiving."});
    }
    if (!is_stock) {
      archive_->paths.emplace(object.get(), path);
      archive_->objects.emplace(path, object);  // its address stays its own
    }
    field = json::object();
    Coder part(archive_,
               std::make_shared<Place>(Place{&field, path + "/", place_->subject, place_->label}));
    object->encodeWithCoder(part);
    return object;
  }
  const json& field = found(*this, *place_->node, key, "an object or null");
  if (field.is_null()) return nullptr;
  if (!field.is_object()) refuse(key, excerpt(field), "an object or null");
  json* node = &(*place_->node)[std::string(key)];
  std::string first = path;  // where the object is written out
  if (field.contains(same_key)) {
    const json& same = field[std::string(same_key)];
    first = same.is_string() ? same.get<std::string>() : "";
    node = find(archive_->structure, first);
    if (node == nullptr || node->contains(same_key)) {
      refuse(key, fmt::format("the same as {}", excerpt(same)), "the same as an object there is");
    }
  }
  if (const auto known = archive_->objects.find(first); known != archive_->objects.end()) {
    return known->second;
  }
  const Begun begun(archive_->begun, first);
  if (begun.is_circle) refuse(key, "an object inside itself", "no circle");
  Coder part(archive_,
             std::make_shared<Place>(Place{node, first + "/", place_->subject, place_->label}));
  const std::string name = part.archived_class();
  CodableFactory factory;
  for (const Stock& one : stock) {
    if (one.name == name) factory = one.make;
  }
  if (!factory) factory = Registry::instance().find(name);
  if (!factory) {
    refuse(key, fmt::format("of class \"{}\"", excerpt(name)), "of a class that is known here",
           "Call register_codable with that name first.");
  }
  part.begin(name, "", archive_->device);
  std::shared_ptr<Codable> made = factory(part);
  if (!made) refuse(key, "nothing", "an object", "Correct the factory given to register_codable.");
  archive_->objects[first] = made;
  return made;
}

}  // namespace cermet
