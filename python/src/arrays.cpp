// NumPy arrays in and out of images, batches, buffers, vectors, matrices and tensors of files.

#include <array>
#include <cstring>

#include "handwritten.h"

namespace cermet::python {
namespace {

using Shape = std::vector<py::ssize_t>;

py::module_ numpy() { return py::module_::import("numpy"); }
std::string type_of(const py::array& array) { return py::str(array.dtype()); }

std::string text(const Shape& shape) {
  std::string result = "(";
  for (const auto extent : shape)
    result += (result.size() > 1 ? ", " : "") + std::to_string(extent);
  return result + (shape.size() == 1 ? ",)" : ")");
}
Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

py::array dense(const py::object& given) {
  return numpy().attr("ascontiguousarray")(numpy().attr("asarray")(given));
}

[[noreturn]] void refuse(const char* subject, const py::array& array, const std::string& needed,
                         const char* remedy = "") {
  fail({subject, "", "array", "of shape " + text(shape_of(array)) + " and type " + type_of(array),
        needed, remedy});
}

// ---- images ----

struct Element {
  const char* name;
  ImageFeatureChannelFormat format;
};
constexpr std::array<Element, 4> elements{{{"float32", ImageFeatureChannelFormat::Float32},
                                           {"float16", ImageFeatureChannelFormat::Float16},
                                           {"uint8", ImageFeatureChannelFormat::Unorm8},
                                           {"uint16", ImageFeatureChannelFormat::Unorm16}}};
constexpr const char* image_types = "float32, float16, uint8 or uint16";

/// The element type of images in a format as NumPy has it; bfloat16 is uint16 there.
const char* raw_type(ImageFeatureChannelFormat format) {
  if (format == ImageFeatureChannelFormat::BFloat16) return "uint16";
  if (format == ImageFeatureChannelFormat::None) return "float16";
  for (const Element& element : elements) {
    if (element.format == format) return element.name;
  }
  return "float32";
}

Shape shape_of(const Image& image) {
  Shape shape{static_cast<py::ssize_t>(image.height()), static_cast<py::ssize_t>(image.width()),
              static_cast<py::ssize_t>(image.featureChannels())};
  if (image.numberOfImages() > 1)
    shape.insert(shape.begin(), static_cast<py::ssize_t>(image.numberOfImages()));
  return shape;
}
Shape shape_of(const ImageBatch& batch) {
  Shape shape = batch.empty() ? Shape{0, 0, 0} : shape_of(batch.front());
  shape.insert(shape.begin(), static_cast<py::ssize_t>(batch.size()));
  return shape;
}

void copy_raw(const Image& image, std::byte* data, bool write) {
  const std::size_t bytes = image.height() * image.width() * image.featureChannels() *
                            size_of(element_type(image.featureChannelFormat()));
  for (std::size_t i = 0; i < image.numberOfImages(); ++i, data += bytes) {
    if (write) {
      image.writeBytes(data, DataLayout::HeightxWidthxFeatureChannels, i);
    } else {
      image.readBytes(data, DataLayout::HeightxWidthxFeatureChannels, i);
    }
  }
}
void copy_raw(const ImageBatch& batch, std::byte* data, bool write) {
  if (batch.empty()) return;
  const Image first = batch.front();
  const std::size_t bytes = first.numberOfImages() * first.height() * first.width() *
                            first.featureChannels() *
                            size_of(element_type(first.featureChannelFormat()));
  for (std::size_t i = 0; i < batch.size(); ++i) copy_raw(batch[i], data + i * bytes, write);
}
ImageFeatureChannelFormat format_of(const Image& image) { return image.featureChannelFormat(); }
ImageFeatureChannelFormat format_of(const ImageBatch& batch) {
  return batch.empty() ? ImageFeatureChannelFormat::Float32 : batch.front().featureChannelFormat();
}

template <class Images>
py::array read(const Images& images, bool raw) {
  const Shape shape = shape_of(images);
  if (raw) {
    py::array result(py::dtype(raw_type(format_of(images))), shape);
    auto* data = static_cast<std::byte*>(result.mutable_data());
    const Unlock unlocked;
    copy_raw(images, data, false);
    return result;
  }
  std::vector<float> values;
  {
    const Unlock unlocked;
    values = images.read_floats();
  }
  return py::array_t<float>(shape, values.data());
}

template <class Images>
void write(const char* subject, const Images& images, const py::object& given) {
  const py::array array = dense(given);
  const std::string type = type_of(array), raw = raw_type(format_of(images));
  const Shape shape = shape_of(images);
  if (shape_of(array) != shape || (type != "float32" && type != raw)) {
    refuse(subject, array,
           "shape " + text(shape) + " and type float32" + (raw == "float32" ? "" : " or " + raw),
           "Use array.reshape and array.astype.");
  }
  const auto* data = static_cast<const std::byte*>(array.data());
  const auto count = static_cast<std::size_t>(array.size());
  const Unlock unlocked;
  if (type == "float32") {
    images.write_floats({reinterpret_cast<const float*>(data), count});
  } else {
    copy_raw(images, const_cast<std::byte*>(data), true);  // which only reads
  }
}

ImageDescriptor descriptor_of(const char* subject, const py::array& array, py::ssize_t dimensions,
                              const std::optional<ImageFeatureChannelFormat>& asked) {
  const std::string type = type_of(array);
  const Element* found = nullptr;
  for (const Element& element : elements) {
    if (type == element.name) found = &element;
  }
  if (array.ndim() != dimensions || found == nullptr) {
    refuse(subject, array,
           std::string(dimensions == 3 ? "3 dimensions (height, width, channels)"
                                       : "4 dimensions (images, height, width, channels)") +
               " and type " + image_types,
           "Use array.reshape and array.astype.");
  }
  const auto extent = [&](py::ssize_t i) {
    return static_cast<std::size_t>(array.shape(dimensions - 3 + i));
  };
  return ImageDescriptor::imageDescriptor(asked.value_or(found->format), extent(1), extent(0),
                                          extent(2));
}

Image image_from(const Device& device, const py::object& given,
                 std::optional<ImageFeatureChannelFormat> format) {
  const py::array array = dense(given);
  const Image image(device, descriptor_of("Image.from_numpy", array, 3, format));
  write("Image.from_numpy", image, array);
  return image;
}
ImageBatch batch_from(const Device& device, const py::object& given,
                      std::optional<ImageFeatureChannelFormat> format) {
  const py::array array = dense(given);
  const ImageDescriptor descriptor = descriptor_of("ImageBatch.from_numpy", array, 4, format);
  const ImageBatch batch(device, descriptor, static_cast<std::size_t>(array.shape(0)));
  write("ImageBatch.from_numpy", batch, array);
  return batch;
}

constexpr const char* numpy_doc =
    "A copy as a float32 array, channels last; `raw`: in the storage type (bfloat16 as uint16).";
constexpr const char* write_doc =
    "Copies an array of the same shape into the image, from float32 with rounding, or in the "
    "storage type.";
constexpr const char* from_doc =
    "A copy of an array, channels last. `channel_format`: None for that of the array: Float32, "
    "Float16, or Unorm8 "
    "and Unorm16 for uint8 and uint16, whose largest value means 1.";

/// The bytes that the windowed forms of readBytes and writeBytes reach, at most.
std::size_t bytes_reached(const Image& image, Image::Strides strides, const Region& region,
                          const ImageReadWriteParams& channels) {
  const std::size_t element = size_of(element_type(image.featureChannelFormat()));
  const std::size_t count = channels.numberOfFeatureChannelsToReadWrite;
  const Size& size = region.size;
  const std::size_t column = strides.bytesPerColumn != 0 ? strides.bytesPerColumn : count * element;
  const std::size_t row = strides.bytesPerRow != 0 ? strides.bytesPerRow : size.width * column;
  const std::size_t plane = strides.bytesPerImage != 0 ? strides.bytesPerImage : size.height * row;
  const std::size_t planes =
      std::max<std::size_t>(size.depth, 1) * (strides.bytesPerImage != 0 ? count : 1);
  return planes * plane;
}

template <class Bytes>
auto* checked(const char* subject, Bytes& bytes, std::size_t needed) {
  if (static_cast<std::size_t>(bytes.nbytes()) < needed) {
    fail({subject, "", "data_bytes", std::to_string(bytes.nbytes()) + " bytes",
          std::to_string(needed) + " bytes", ""});
  }
  return &bytes;
}

void define_images() {
  const auto format = py::arg_v("channel_format", py::none(), "None");
  Adder<Image>()
      .function("from_numpy", image_from, py::arg("device"), py::arg("array"), format, from_doc)
      .method("numpy", &read<Image>, py::arg("raw") = false, numpy_doc)
      .method(
          "write",
          [](const Image& self, const py::object& array) { write("Image.write", self, array); },
          py::arg("array"), write_doc)
      .method(
          "read_bytes",
          [](const Image& self, py::array& bytes, DataLayout layout, std::size_t index) {
            const std::size_t needed = self.height() * self.width() * self.featureChannels() *
                                       size_of(element_type(self.featureChannelFormat()));
            self.readBytes(checked("Image.read_bytes", bytes, needed)->mutable_data(), layout,
                           index);
          },
          py::arg("data_bytes"), py::arg("data_layout"), py::arg("image_index") = 0,
          "Copies a whole image, tightly packed and in the storage type, into a writable array of "
          "enough bytes.")
      .method(
          "read_bytes",
          [](const Image& self, py::array& bytes, DataLayout layout, Image::Strides strides,
             const Region& region, ImageReadWriteParams channels, std::size_t index) {
            checked("Image.read_bytes", bytes, bytes_reached(self, strides, region, channels));
            self.readBytes(bytes.mutable_data(), layout, strides, region, channels, index);
          },
          py::arg("data_bytes"), py::arg("data_layout"), py::arg("strides"), py::arg("region"),
          py::arg("feature_channel_info"), py::arg("image_index"))
      .method(
          "write_bytes",
          [](const Image& self, const py::array& bytes, DataLayout layout, std::size_t index) {
            const std::size_t needed = self.height() * self.width() * self.featureChannels() *
                                       size_of(element_type(self.featureChannelFormat()));
            self.writeBytes(checked("Image.write_bytes", bytes, needed)->data(), layout, index);
          },
          py::arg("data_bytes"), py::arg("data_layout"), py::arg("image_index") = 0,
          "Copies an array of the image's bytes, tightly packed and in the storage type, into the "
          "image.")
      .method(
          "write_bytes",
          [](const Image& self, const py::array& bytes, DataLayout layout, Image::Strides strides,
             const Region& region, ImageReadWriteParams channels, std::size_t index) {
            checked("Image.write_bytes", bytes, bytes_reached(self, strides, region, channels));
            self.writeBytes(bytes.data(), layout, strides, region, channels, index);
          },
          py::arg("data_bytes"), py::arg("data_layout"), py::arg("strides"), py::arg("region"),
          py::arg("feature_channel_info"), py::arg("image_index"));
  Adder<ImageBatch>()
      .function("from_numpy", batch_from, py::arg("device"), py::arg("array"), format, from_doc)
      .method("numpy", &read<ImageBatch>, py::arg("raw") = false, numpy_doc)
      .method(
          "write",
          [](const ImageBatch& self, const py::object& array) {
            write("ImageBatch.write", self, array);
          },
          py::arg("array"), write_doc);
}

// ---- sequences ----

template <class Batch>
std::size_t place(const Batch& batch, py::ssize_t index) {
  const auto size = static_cast<py::ssize_t>(batch.size());
  if (index < -size || index >= size)
    throw py::index_error("the batch has " + std::to_string(size) + " elements");
  return static_cast<std::size_t>(index < 0 ? index + size : index);
}

void define_sequences() {
  Adder<ImageBatch>()
      .method("__len__", [](const ImageBatch& self) { return self.size(); })
      .method("__getitem__",
              [](const ImageBatch& self, py::ssize_t i) { return self[place(self, i)]; })
      .method("__getitem__", [](const ImageBatch& self, const py::slice& slice) {
        py::ssize_t start = 0, stop = 0, step = 0, count = 0;
        if (!slice.compute(static_cast<py::ssize_t>(self.size()), &start, &stop, &step, &count)) {
          throw py::error_already_set();
        }
        if (step == 1)
          return self.subrange({static_cast<std::size_t>(start), static_cast<std::size_t>(count)});
        std::vector<Image> images;
        for (py::ssize_t i = 0; i < count; ++i)
          images.push_back(self[static_cast<std::size_t>(start + i * step)]);
        return ImageBatch(std::move(images));
      });
  Adder<StateBatch>()
      .method("__len__", [](const StateBatch& self) { return self.size(); })
      .method("__getitem__",
              [](const StateBatch& self, py::ssize_t i) { return self[place(self, i)]; });
}

// ---- buffers, vectors, matrices ----

py::dtype dtype_of(const py::object& given) { return numpy().attr("dtype")(given); }

py::array elements_of(const Buffer& buffer, const py::object& given) {
  const py::dtype type = dtype_of(given);
  const auto count = static_cast<py::ssize_t>(buffer.length()) / type.itemsize();
  const void* contents = nullptr;
  {
    const Unlock unlocked;
    contents = buffer.contents();
  }
  return py::array(type, {count}, {type.itemsize()}, contents, py::cast(buffer));
}
py::array copy_of(const Buffer& buffer, const py::object& given) {
  const py::dtype type = dtype_of(given);
  py::array result(type, Shape{static_cast<py::ssize_t>(buffer.length()) / type.itemsize()});
  void* const data = result.mutable_data();
  const auto bytes = static_cast<std::size_t>(result.nbytes());
  const Unlock unlocked;
  buffer.copy_out(data, bytes);
  return result;
}

struct Strided {
  Shape shape;                     // 1, 2 or 3 extents
  std::vector<std::size_t> bytes;  // strides of all but the last
};
Strided layout_of(const Vector& vector) {
  return {{static_cast<py::ssize_t>(vector.vectors()), static_cast<py::ssize_t>(vector.length())},
          {vector.vectorBytes()}};
}
Strided layout_of(const Matrix& matrix) {
  return {{static_cast<py::ssize_t>(matrix.matrices()), static_cast<py::ssize_t>(matrix.rows()),
           static_cast<py::ssize_t>(matrix.columns())},
          {matrix.matrixBytes(), matrix.rowBytes()}};
}
Shape shown(Shape shape) {
  if (shape.front() == 1) shape.erase(shape.begin());
  return shape;
}

const char* element_name(DataType type) {
  switch (type) {
    case DataType::Int16:
      return "int16";
    case DataType::Int32:
      return "int32";
    case DataType::Int64:
      return "int64";
    case DataType::UInt16:
      return "uint16";
    case DataType::UInt32:
      return "uint32";
    case DataType::UInt64:
      return "uint64";
    default:
      return number_type(type);
  }
}

/// Visits each run of elements that lie side by side: its place in the buffer and in a dense array.
template <class F>
void for_each_run(const StridedArray& array, const Strided& layout, std::size_t element,
                  F&& visit) {
  const auto run = static_cast<std::size_t>(layout.shape.back()) * element;
  const auto outer = static_cast<std::size_t>(layout.shape.front());
  const auto inner = layout.bytes.size() > 1 ? static_cast<std::size_t>(layout.shape[1]) : 1;
  std::size_t at = 0;
  for (std::size_t i = 0; i < outer; ++i) {
    for (std::size_t j = 0; j < inner; ++j, at += run) {
      const std::size_t place =
          i * layout.bytes[0] + (layout.bytes.size() > 1 ? j * layout.bytes[1] : 0);
      visit(array.offset() + place, at, run);
    }
  }
}

template <class Array>
py::array numbers_in(const Array& self) {
  const Strided layout = layout_of(self);
  py::array result(py::dtype(element_name(self.dataType())), shown(layout.shape));
  auto* data = static_cast<std::byte*>(result.mutable_data());
  const Unlock unlocked;
  const Buffer buffer = self.data();
  for_each_run(self, layout, SizeofDataType(self.dataType()),
               [&](std::size_t from, std::size_t to, std::size_t n) {
                 buffer.copy_out(data + to, n, from);
               });
  return result;
}

template <class Array>
void write_numbers(const char* subject, const Array& self, const py::object& given) {
  const Strided layout = layout_of(self);
  const py::array array = dense(given);
  const char* type = element_name(self.dataType());
  if (shape_of(array) != shown(layout.shape) || type_of(array) != type) {
    refuse(subject, array, "shape " + text(shown(layout.shape)) + " and type " + type,
           "Use array.reshape and array.astype.");
  }
  const auto* data = static_cast<const std::byte*>(array.data());
  const Unlock unlocked;
  const Buffer buffer = self.data();
  for_each_run(
      self, layout, SizeofDataType(self.dataType()),
      [&](std::size_t to, std::size_t from, std::size_t n) { buffer.copy_in(data + from, n, to); });
}

DataType data_type_of(const char* subject, const py::array& array) {
  const std::string type = type_of(array);
  for (const DataType one :
       {DataType::Float32, DataType::Float16, DataType::UInt8, DataType::Int8, DataType::Int16,
        DataType::Int32, DataType::Int64, DataType::UInt16, DataType::UInt32, DataType::UInt64}) {
    if (type == element_name(one)) return one;
  }
  refuse(subject, array, "type float32, float16 or an integer type", "Use array.astype.");
}

void define_buffers() {
  const auto bytes = py::arg_v("dtype", py::str("uint8"), "'uint8'");
  Adder<Buffer>()
      .function(
          "from_numpy",
          [](const Device& device, const py::object& given) {
            const py::array array = dense(given);
            const void* const data = array.data();
            const auto bytes = static_cast<std::size_t>(array.nbytes());
            const Unlock unlocked;
            return device.makeBuffer(data, bytes);
          },
          py::arg("device"), py::arg("array"), "A buffer with a copy of the array's bytes.")
      .method("numpy", elements_of, bytes,
              "The contents as an array that shares the buffer's memory: no copy. On a GPU it is a "
              "mirror in host\n"
              "memory, which every command buffer that uses the bytes then copies; `read` and "
              "`write` copy once.")
      .method("read", copy_of, bytes, "A copy of the contents as an array.")
      .method(
          "write",
          [](const Buffer& self, const py::object& given, std::size_t offset) {
            const py::array array = dense(given);
            const void* const data = array.data();
            const auto bytes = static_cast<std::size_t>(array.nbytes());
            const Unlock unlocked;
            self.copy_in(data, bytes, offset);
          },
          py::arg("array"), py::arg("offset") = 0, "Copies the array's bytes to `offset`.");
  Adder<Vector>()
      .function(
          "from_numpy",
          [](const Device& device, const py::object& given) {
            const py::array array = dense(given);
            const DataType type = data_type_of("Vector.from_numpy", array);
            if (array.ndim() != 1 && array.ndim() != 2) {
              refuse("Vector.from_numpy", array, "1 dimension, or 2 for several vectors");
            }
            const auto length = static_cast<std::size_t>(array.shape(array.ndim() - 1));
            const auto count = array.ndim() == 2 ? static_cast<std::size_t>(array.shape(0)) : 1;
            const Vector vector(
                device, VectorDescriptor::vectorDescriptor(
                            length, count, VectorDescriptor::vectorBytes(length, type), type));
            write_numbers("Vector.from_numpy", vector,
                          count == 1 ? array.attr("reshape")(length) : py::object(array));
            return vector;
          },
          py::arg("device"), py::arg("array"), "A vector, or several, with a copy of the array.")
      .method("numpy", &numbers_in<Vector>,
              "A copy of the elements; 2 dimensions where there are several vectors.")
      .method(
          "write",
          [](const Vector& self, const py::object& array) {
            write_numbers("Vector.write", self, array);
          },
          py::arg("array"), "Copies an array of the same shape and type.");
  Adder<Matrix>()
      .function(
          "from_numpy",
          [](const Device& device, const py::object& given) {
            const py::array array = dense(given);
            const DataType type = data_type_of("Matrix.from_numpy", array);
            if (array.ndim() != 2 && array.ndim() != 3) {
              refuse("Matrix.from_numpy", array, "2 dimensions, or 3 for several matrices");
            }
            const auto columns = static_cast<std::size_t>(array.shape(array.ndim() - 1));
            const auto rows = static_cast<std::size_t>(array.shape(array.ndim() - 2));
            const auto count = array.ndim() == 3 ? static_cast<std::size_t>(array.shape(0)) : 1;
            const std::size_t row_bytes = MatrixDescriptor::rowBytes(columns, type);
            const Matrix matrix(device,
                                MatrixDescriptor::matrixDescriptor(rows, columns, count, row_bytes,
                                                                   rows * row_bytes, type));
            write_numbers("Matrix.from_numpy", matrix,
                          count == 1 ? array.attr("reshape")(rows, columns) : py::object(array));
            return matrix;
          },
          py::arg("device"), py::arg("array"), "A matrix, or several, with a copy of the array.")
      .method("numpy", &numbers_in<Matrix>,
              "A copy of the elements; 3 dimensions where there are several matrices.")
      .method(
          "write",
          [](const Matrix& self, const py::object& array) {
            write_numbers("Matrix.write", self, array);
          },
          py::arg("array"), "Copies an array of the same shape and type.");
}

// ---- tensors of files ----

struct FileType {
  const char *file, *numpy;
};
constexpr std::array<FileType, 12> file_types{{{"F32", "float32"},
                                               {"F64", "float64"},
                                               {"F16", "float16"},
                                               {"BF16", "uint16"},
                                               {"BOOL", "bool"},
                                               {"U8", "uint8"},
                                               {"I8", "int8"},
                                               {"I16", "int16"},
                                               {"U16", "uint16"},
                                               {"I32", "int32"},
                                               {"I64", "int64"},
                                               {"U32", "uint32"}}};

void define_tensors() {
  Adder<SafeTensor>()
      .function(
          "from_numpy",
          [](const std::string& name, const py::object& given) {
            const py::array array = dense(given);
            SafeTensor tensor;
            tensor.name = name;
            for (const FileType& type : file_types) {
              if (type_of(array) == type.numpy && tensor.dtype.empty() &&
                  type.file != std::string_view("BF16")) {
                tensor.dtype = type.file;
              }
            }
            if (tensor.dtype.empty())
              refuse("SafeTensor.from_numpy", array, "a type of safetensors files");
            tensor.shape.assign(array.shape(), array.shape() + array.ndim());
            const auto* data = static_cast<const std::byte*>(array.data());
            tensor.data.assign(data, data + array.nbytes());
            return tensor;
          },
          py::arg("name"), py::arg("array"), "A tensor with a copy of the array.")
      .method(
          "numpy",
          [](const SafeTensor& self) {
            for (const FileType& type : file_types) {
              if (self.dtype == type.file) {
                const py::array flat(py::dtype(type.numpy),
                                     Shape{static_cast<py::ssize_t>(self.data.size()) /
                                           py::dtype(type.numpy).itemsize()},
                                     self.data.data());
                return flat.attr("reshape")(py::cast(Shape(self.shape.begin(), self.shape.end())));
              }
            }
            throw py::type_error("no array has elements of type " + self.dtype);
          },
          "A copy as an array; BF16 as uint16.");
}

}  // namespace

void define_arrays(py::module_&) {
  define_images();
  define_sequences();
  define_buffers();
  define_tensors();
}

}  // namespace cermet::python
