// DLPack: memory shared with whatever else speaks it (NumPy, PyTorch).

#include <any>
#include <cstdint>

#include "core/image_impl.h"
#include "handwritten.h"

namespace cermet::python {
namespace {

// The structures of DLPack's C interface, version 0.
enum : std::int32_t { cpu_device = 1 };
enum : std::uint8_t { int_code = 0, uint_code = 1, float_code = 2, bfloat_code = 4 };
struct DLDevice {
  std::int32_t device_type = cpu_device, device_id = 0;
};
struct DLDataType {
  std::uint8_t code = float_code, bits = 32;
  std::uint16_t lanes = 1;
};
struct DLTensor {
  void* data = nullptr;
  DLDevice device;
  std::int32_t ndim = 0;
  DLDataType dtype;
  std::int64_t *shape = nullptr, *strides = nullptr;
  std::uint64_t byte_offset = 0;
};
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx = nullptr;
  void (*deleter)(DLManagedTensor*) = nullptr;
};

/// A tensor and what keeps its memory; freed by whoever took the capsule, or with the capsule.
struct Shared {
  DLManagedTensor managed;
  std::vector<std::int64_t> shape, strides;
  std::any owner;
};

template <class Owner>
py::capsule capsule(Owner owner, void* data, DLDataType type, std::vector<std::int64_t> shape,
                    std::vector<std::int64_t> strides) {
  auto shared = std::make_unique<Shared>();
  shared->shape = std::move(shape);
  shared->strides = std::move(strides);
  shared->owner = std::move(owner);
  DLTensor& tensor = shared->managed.dl_tensor;
  tensor.data = data;
  tensor.ndim = static_cast<std::int32_t>(shared->shape.size());
  tensor.dtype = type;
  tensor.shape = shared->shape.data();
  tensor.strides = shared->strides.data();
  shared->managed.manager_ctx = shared.get();
  shared->managed.deleter = [](DLManagedTensor* self) {
    delete static_cast<Shared*>(self->manager_ctx);
  };
  PyObject* made = PyCapsule_New(&shared->managed, "dltensor", [](PyObject* object) {
    // A consumer that took the tensor has renamed the capsule, and frees it itself.
    if (PyCapsule_IsValid(object, "dltensor") == 0) return;
    auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(object, "dltensor"));
    managed->deleter(managed);
  });
  if (made == nullptr) throw py::error_already_set();
  static_cast<void>(shared.release());
  return py::reinterpret_steal<py::capsule>(made);
}

DLDataType type_of(ElementType type) {
  switch (type) {
    case ElementType::float32:
      return {float_code, 32, 1};
    case ElementType::float16:
      return {float_code, 16, 1};
    case ElementType::bfloat16:
      return {bfloat_code, 16, 1};
    case ElementType::unorm16:
      return {uint_code, 16, 1};
    case ElementType::unorm8:
    case ElementType::uint8:
      break;
  }
  return {uint_code, 8, 1};
}
DLDataType type_of(DataType type) {
  const auto bits = static_cast<std::uint8_t>(DataTypeBitsCount(type));
  const auto code = static_cast<std::uint32_t>(type);
  if (type == DataType::BFloat16) return {bfloat_code, 16, 1};
  if ((code & static_cast<std::uint32_t>(DataType::FloatBit)) != 0) return {float_code, bits, 1};
  if ((code & static_cast<std::uint32_t>(DataType::SignedBit)) != 0) return {int_code, bits, 1};
  return {uint_code, bits, 1};
}

py::object copy(const py::object& self) { return self.attr("numpy")().attr("__dlpack__")(); }

bool is_on_host(const Device& device) { return device.engine().host_can_access(); }

py::object share(const py::object& object, const Image& image) {
  if (!is_on_host(image.device()) || image.is_temporary()) return copy(object);
  const TensorView view = detail::view_of(image);
  const TensorDesc& d = view.desc;
  std::vector<std::int64_t> shape{d.h, d.w, d.c}, strides{d.stride_h, d.stride_w, 1};
  if (d.n > 1) {
    shape.insert(shape.begin(), d.n);
    strides.insert(strides.begin(), d.stride_n);
  }
  return capsule(image, view.data, type_of(d.type), std::move(shape), std::move(strides));
}

py::object share(const py::object& object, const ImageBatch& batch) {
  const bool whole = !batch.empty() && detail::ImageRecord::run_of(batch).record != nullptr;
  if (!whole || batch.front().numberOfImages() != 1) return copy(object);
  const Image first = batch.front();
  if (!is_on_host(first.device()) || first.is_temporary()) return copy(object);
  const TensorView view = detail::view_of(first);
  const TensorDesc& d = view.desc;
  return capsule(batch, view.data, type_of(d.type),
                 {static_cast<std::int64_t>(batch.size()), d.h, d.w, d.c},
                 {d.stride_n, d.stride_h, d.stride_w, 1});
}

py::object share(const py::object&, const Buffer& buffer) {
  return capsule(buffer, buffer.contents(), {uint_code, 8, 1},
                 {static_cast<std::int64_t>(buffer.length())}, {1});
}

/// A stride that is no whole number of elements cannot be told.
py::object share_numbers(const py::object& object, const StridedArray& array,
                         std::vector<std::int64_t> shape, std::vector<std::size_t> bytes) {
  const std::size_t element = SizeofDataType(array.dataType());
  std::vector<std::int64_t> strides;
  for (const std::size_t stride : bytes) {
    if (stride % element != 0) return copy(object);
    strides.push_back(static_cast<std::int64_t>(stride / element));
  }
  strides.push_back(1);
  if (!is_on_host(array.device())) return copy(object);
  if (shape.front() == 1) {
    shape.erase(shape.begin());
    strides.erase(strides.begin());
  }
  const Buffer buffer = array.data();
  auto* data = static_cast<std::byte*>(buffer.contents()) + array.offset();
  return capsule(buffer, data, type_of(array.dataType()), std::move(shape), std::move(strides));
}
py::object share(const py::object& object, const Vector& vector) {
  return share_numbers(
      object, vector,
      {static_cast<std::int64_t>(vector.vectors()), static_cast<std::int64_t>(vector.length())},
      {vector.vectorBytes()});
}
py::object share(const py::object& object, const Matrix& matrix) {
  return share_numbers(
      object, matrix,
      {static_cast<std::int64_t>(matrix.matrices()), static_cast<std::int64_t>(matrix.rows()),
       static_cast<std::int64_t>(matrix.columns())},
      {matrix.matrixBytes(), matrix.rowBytes()});
}

template <class T>
void define(const char* doc) {
  Adder<T>()
      .method(
          "__dlpack__",
          [](const py::object& self, const py::object&) {
            return share(self, py::cast<const T&>(self));
          },
          py::kw_only(), py::arg_v("stream", py::none(), "None"), doc)
      .method("__dlpack_device__",
              [](const T&) { return py::make_tuple(static_cast<int>(cpu_device), 0); })
      .function(
          "from_dlpack",
          [](const Device& device, const py::object& tensor) {
            const py::object numpy = py::module_::import("numpy");
            const auto place = tensor.attr("__dlpack_device__")().cast<std::pair<int, int>>();
            if (place.first != cpu_device) {
              fail({"from_dlpack", "", "tensor", "on device " + std::to_string(place.first),
                    "in host memory", "Copy it to the CPU first."});
            }
            const py::object array = numpy.attr("from_dlpack")(tensor);
            return py::type::of<T>().attr("from_numpy")(device, array);
          },
          py::arg("device"), py::arg("tensor"),
          "A copy of a tensor of any library that speaks DLPack.");
}

constexpr const char* image_doc =
    "Shares the memory where the host has it and the images are permanent and were made together: "
    "no copy, in the "
    "storage type. Elsewhere a float32 copy. Let work that uses the images complete first.";
constexpr const char* number_doc =
    "Shares the memory on a CPU: no copy. Elsewhere a copy. Let work that uses it complete first.";

}  // namespace

void define_dlpack() {
  define<Image>(image_doc);
  define<ImageBatch>(image_doc);
  define<Buffer>("Shares the memory, as bytes; on a GPU the mirror of `Buffer.numpy`.");
  define<Vector>(number_doc);
  define<Matrix>(number_doc);
}

}  // namespace cermet::python
