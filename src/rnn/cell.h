#pragma once
// A recurrent cell as layers keep it: a checked snapshot of a descriptor, and its parameters.

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cermet/core/coder.h"
#include "cermet/core/kernel.h"
#include "cermet/rnn/descriptor.h"

namespace cermet::detail {

enum class CellKind : std::int32_t { single_gate, gru, lstm };
/// Weights of x, of h0 (of r.h0 in the GRU's last gate), of c0 or c1 (of z.h0 in a GRU), biases.
enum class CellPart : std::int32_t { input, recurrent, memory, bias };

inline constexpr std::size_t most_gates = 4;

/// One of a cell's matrices.
struct CellMatrix {
  RNNMatrixId id{};
  CellPart part{};
  std::size_t gate = 0;
  std::size_t rows = 1, columns = 1;
};

struct Cell {
  CellKind kind = CellKind::single_gate;
  std::size_t inputs = 1, outputs = 1;
  bool unit_inputs = false;  // x itself in place of W x
  RNNSequenceDirection direction = RNNSequenceDirection::Forward;
  std::array<Activation, most_gates> neurons{};
  std::vector<float> slopes;                  // PReLU's, for each channel of each gate, or empty
  std::array<bool, most_gates> has_memory{};  // which gates have weights of CellPart::memory
  bool diagonal = false;                      // those are vectors
  float p = 1;                                // of a GRU
  bool flip = false;
  Activation cell_to_output{};  // of an LSTM

  [[nodiscard]] std::size_t gates() const;
  /// Channels of all gates.
  [[nodiscard]] std::size_t gate_channels() const { return gates() * outputs; }
  [[nodiscard]] bool has_cell() const { return kind == CellKind::lstm; }
  [[nodiscard]] bool has_any_memory() const;
  /// Those in use, in the order of their ids.
  [[nodiscard]] std::vector<CellMatrix> matrices() const;
  /// To write or to read; FileError for what no cell is.
  void code(Coder& coder);
};

/// What to call a matrix in messages and archives: "LSTMInputGateBiasTerms".
[[nodiscard]] std::string_view name_of(RNNMatrixId id);

/// The sources of one gate; the part of each is its index. Null: none.
struct CellSources {
  std::array<std::array<RNNWeights, 3>, most_gates> of_gate;
};

/// Snapshot of `descriptor` and its sources; throws InvalidArgument in the name of `kernel`.
struct DescribedCell {
  Cell cell;
  CellSources sources;

  DescribedCell(const RNNDescriptor& descriptor, const Kernel& kernel);
};

/// The values of all matrices of a cell, each row-major, in the order of `Cell::matrices`: loaded
/// from the sources, which must be of 1x1 pixels. Also completes the cell's neurons.
/// `rounds_unspecified`: whether to half precision where a source does not say.
[[nodiscard]] std::vector<std::vector<float>> load_matrices(DescribedCell& described,
                                                            const Kernel& kernel,
                                                            bool rounds_unspecified);

/// The snapshot of a source's descriptor; throws where there is none or it is invalid.
[[nodiscard]] std::shared_ptr<const ConvolutionShape> shape_of_source(
    CNNConvolutionDataSource& source, const Kernel& kernel);
/// Throws: the source has not what is `needed`.
[[noreturn]] void refuse_source(const Kernel& kernel, const CNNConvolutionDataSource& source,
                                const ConvolutionShape& shape, std::string needed);
/// To write or to read.
[[nodiscard]] std::size_t code_layer_count(const Coder& coder, std::size_t count);
/// Takes the neuron of a gate's input source.
void take_neuron(Cell& cell, std::size_t gate, const NNNeuronDescriptor& neuron);

}  // namespace cermet::detail
