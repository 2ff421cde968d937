// Recurrent layers on matrices beyond their rows: the worked numbers of the specification, states,
// sequences in pieces, lists of weights, both directions, archives, and what is refused (spec:
// rnn-matrix B).

#include <gtest/gtest.h>

#include <cstring>

#include "../core/help.h"
#include "../harness/recurrent.h"
#include "../harness/refusal.h"
#include "cermet/core/coder.h"
#include "cermet/rnn/matrix_inference_layer.h"
#include "cermet/rnn/matrix_training_layer.h"
#include "core/state_impl.h"

namespace cermet::test {
namespace {

using oracle::RecurrentCell;
using oracle::Row;
using oracle::Rows;
using enum RNNMatrixId;
using TrainingStates = std::vector<RNNMatrixTrainingStatePtr>;
using RecurrentStates = std::vector<RNNRecurrentMatrixStatePtr>;

constexpr auto single = RecurrentCell::single_gate;
constexpr auto gru = RecurrentCell::gru;
constexpr auto lstm = RecurrentCell::lstm;
constexpr Activation logistic{CNNNeuronType::Sigmoid}, tanh_one{CNNNeuronType::TanH, 1, 1, 1};

// ---- what the tests share -----------------------------------------------------------------------

/// Records, commits and waits.
template <class Record>
void run(Record&& record, const Device& device = tested()) {
  CommandBuffer buffer = device.makeCommandQueue().makeCommandBuffer();
  record(buffer);
  buffer.commit();
  buffer.waitUntilCompleted();
}

void write(const Matrix& matrix, const Rows& rows) {
  const std::size_t element = SizeofDataType(matrix.dataType());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t k = 0; k < rows[r].size(); ++k) {
      const auto value = static_cast<float>(rows[r][k]);
      const std::uint16_t half = half_from_float(value);
      const std::size_t at = matrix.offset() + r * matrix.rowBytes() + k * element;
      if (matrix.dataType() == DataType::Float16)
        matrix.data().copy_in(&half, sizeof half, at);
      else
        matrix.data().copy_in(&value, sizeof value, at);
    }
  }
}
Rows read(const Matrix& matrix) {
  Rows rows(matrix.rows(), Row(matrix.columns()));
  const std::size_t element = SizeofDataType(matrix.dataType());
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t k = 0; k < rows[r].size(); ++k) {
      const std::size_t at = matrix.offset() + r * matrix.rowBytes() + k * element;
      float value = 0;
      std::uint16_t half = 0;
      if (matrix.dataType() == DataType::Float16) {
        matrix.data().copy_out(&half, sizeof half, at);
        value = float_from_half(half);
      } else {
        matrix.data().copy_out(&value, sizeof value, at);
      }
      rows[r][k] = double{value};
    }
  }
  return rows;
}
MatrixDescriptor plain(std::size_t rows, std::size_t columns, DataType type = DataType::Float32) {
  return MatrixDescriptor::matrixDescriptor(rows, columns, columns * SizeofDataType(type), type);
}
Matrix matrix_of(const Rows& rows, const Device& device = tested()) {
  Matrix matrix(device, plain(rows.size(), rows.front().size()));
  write(matrix, rows);
  return matrix;
}
std::vector<Matrix> matrices_of(const std::vector<Rows>& steps, const Device& device = tested()) {
  std::vector<Matrix> list;
  for (const Rows& rows : steps) list.push_back(matrix_of(rows, device));
  return list;
}
/// As many matrices as steps, with their rows, zero.
std::vector<Matrix> room_for(const std::vector<Rows>& steps, std::size_t columns,
                             const Device& device = tested()) {
  std::vector<Matrix> list;
  for (const Rows& rows : steps) list.emplace_back(device, plain(rows.size(), columns));
  return list;
}
std::vector<Rows> read_all(const std::vector<Matrix>& list) {
  std::vector<Rows> steps;
  for (const Matrix& matrix : list) steps.push_back(read(matrix));
  return steps;
}

void expect_near(const Rows& got, const Rows& wanted, double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (std::size_t r = 0; r < got.size(); ++r) {
    ASSERT_EQ(got[r].size(), wanted[r].size()) << what;
    for (std::size_t k = 0; k < got[r].size(); ++k)
      EXPECT_NEAR(got[r][k], wanted[r][k], tolerance) << what << ", row " << r << ", column " << k;
  }
}
void expect_near(const std::vector<Rows>& got, const std::vector<Rows>& wanted, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (std::size_t t = 0; t < got.size(); ++t)
    expect_near(got[t], wanted[t], tolerance, what + ", step " + std::to_string(t));
}

RNNRecurrentMatrixStatePtr state_with(std::size_t channels, bool has_cell, const Rows& h,
                                      const Rows& c = {}) {
  const std::vector<RNNRecurrentState::Layer> layers{{channels, has_cell}};
  auto state = std::make_shared<RNNRecurrentMatrixState>(detail::StateOrigin::permanent(tested()),
                                                         h.size(), layers);
  write(state->getRecurrentOutputMatrix(0), h);
  if (has_cell) write(state->getMemoryCellMatrix(0), c);
  return state;
}

Rows random_rows(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Rows all;
  for (std::size_t r = 0; r < rows; ++r) {
    const std::vector<float> values = grid_floats(columns, seed * 131 + r);
    all.emplace_back(values.begin(), values.end());
  }
  return all;
}
std::vector<Rows> random_steps(const std::vector<std::size_t>& rows, std::size_t columns,
                               std::uint64_t seed) {
  std::vector<Rows> all;
  for (const std::size_t count : rows) all.push_back(random_rows(count, columns, ++seed));
  return all;
}
/// With all weights that a cell of this kind can have; an LSTM's peepholes are matrices.
RecurrentCell random_cell(RecurrentCell::Kind kind, std::size_t inputs, std::size_t outputs,
                          std::uint64_t seed = 1) {
  RecurrentCell cell{.kind = kind, .inputs = inputs, .outputs = outputs};
  cell.neurons = {logistic, logistic, tanh_one, logistic};
  if (kind == single) cell.neurons = {tanh_one};
  const auto add = [&](RNNMatrixId id, std::size_t count) {
    const auto limit = static_cast<float>(1.5 / std::sqrt(static_cast<double>(outputs)));
    const std::vector<float> values = floats(count, ++seed, -limit, limit);
    if (id != Count) cell.matrices[id] = {values.begin(), values.end()};
  };
  for (const auto& gate : cell.gates()) {
    add(gate.input, inputs * outputs);
    add(gate.recurrent, outputs * outputs);
    add(gate.memory, outputs * outputs);
    add(gate.bias, outputs);
  }
  return cell;
}
std::string name_of(RecurrentCell::Kind kind) {
  return kind == single ? "single" : kind == gru ? "gru" : "lstm";
}

/// A training layer and its weights.
struct Trained {
  std::vector<Matrix> weights;
  RNNMatrixTrainingLayer layer;

  explicit Trained(const RecurrentCell& cell, const Device& device = tested())
      : layer(device, descriptor_of(cell), &weights) {}

  [[nodiscard]] std::vector<Matrix> gradients(DataType type = DataType::Float32) const {
    std::vector<Matrix> list;
    layer.createWeightGradientMatrices(&list, type);
    return list;
  }
  [[nodiscard]] Rows take(std::span<const Matrix> list, RNNMatrixId id, std::size_t rows,
                          std::size_t columns) const {
    const Matrix out(tested(), plain(rows, columns));
    run([&](const CommandBuffer& buffer) {
      layer.encodeCopyWeights(buffer, list, id, out, true, {});
    });
    return read(out);
  }
};

/// Both passes over one sequence, with permanent states.
struct Passes {
  std::vector<Matrix> x, y, g, dx, dw;
  TrainingStates training;
  RecurrentStates states, before;

  Passes(const Trained& trained, const std::vector<Rows>& inputs,
         const std::vector<Rows>& gradients, const RNNRecurrentMatrixStatePtr& begin = nullptr,
         const RNNRecurrentMatrixStatePtr& after = nullptr, const Device& device = tested())
      : x(matrices_of(inputs, device)),
        y(room_for(inputs, trained.layer.outputFeatureChannels(), device)),
        g(matrices_of(gradients, device)),
        dx(room_for(inputs, trained.layer.inputFeatureChannels(), device)),
        dw(trained.gradients()) {
    run(
        [&](const CommandBuffer& buffer) {
          trained.layer.encodeForwardSequence(buffer, x, {}, y, {}, &training, begin, &states,
                                              trained.weights);
          trained.layer.encodeGradientSequence(buffer, x, {}, g, {}, dx, {}, dw, training, after,
                                               &before, trained.weights);
        },
        device);
  }
};

// ---- worked numbers -----------------------------------------------------------------------------

struct Worked {
  std::string name;
  RecurrentCell cell;
  std::vector<Rows> x, gradients;
  Rows h0{}, c0{};  // empty: no state
  std::vector<Rows> h, dx;
  std::map<RNNMatrixId, Row> weights;
  Rows dh0{}, dc0{};        // empty: not printed
  Rows last_h{}, last_c{};  // of the final state
  double tolerance = 2e-6;

  friend std::ostream& operator<<(std::ostream& out, const Worked& row) { return out << row.name; }
};

class RecurrentSpec : public testing::TestWithParam<Worked> {};

TEST_P(RecurrentSpec, numbers_quick) {
  const Worked& worked = GetParam();
  const RecurrentCell& cell = worked.cell;
  const bool has_cell = cell.kind == lstm;
  const auto begin =
      worked.h0.empty() ? nullptr : state_with(cell.outputs, has_cell, worked.h0, worked.c0);
  const Trained trained(cell);
  const Passes passes(trained, worked.x, worked.gradients, begin);
  expect_near(read_all(passes.y), worked.h, worked.tolerance, "h");
  expect_near(read_all(passes.dx), worked.dx, worked.tolerance, "dx");
  for (const auto& [id, wanted] : worked.weights) {
    const bool is_bias = std::ranges::any_of(
        cell.gates(), [&, which = id](const auto& gate) { return gate.bias == which; });
    const std::size_t rows = is_bias ? 1 : cell.outputs, columns = wanted.size() / rows;
    Row got;
    for (const Row& row : trained.take(passes.dw, id, rows, columns))
      got.insert(got.end(), row.begin(), row.end());
    expect_near(Rows{got}, Rows{wanted}, worked.tolerance,
                "gradient of matrix " + std::to_string(static_cast<unsigned>(id)));
  }
  ASSERT_EQ(passes.before.size(), 1U);
  RNNRecurrentMatrixState& before = *passes.before.front();
  if (!worked.dh0.empty())
    expect_near(read(before.getRecurrentOutputMatrix(0)), worked.dh0, worked.tolerance, "dh(-1)");
  if (!worked.dc0.empty())
    expect_near(read(before.getMemoryCellMatrix(0)), worked.dc0, worked.tolerance, "dc(-1)");

  const RNNMatrixInferenceLayer inference(tested(), descriptor_of(cell));
  const std::vector<Matrix> y = room_for(worked.x, cell.outputs);
  RecurrentStates states;
  run([&](const CommandBuffer& buffer) {
    inference.encodeSequence(buffer, passes.x, y, begin, &states);
  });
  expect_near(read_all(y), worked.h, worked.tolerance, "h of inference");
  ASSERT_EQ(states.size(), 1U);
  ASSERT_EQ(passes.states.size(), 1U);
  for (const auto& state : {states[0], passes.states[0]}) {
    if (!worked.last_h.empty())
      expect_near(read(state->getRecurrentOutputMatrix(0)), worked.last_h, worked.tolerance,
                  "final h");
    if (!worked.last_c.empty())
      expect_near(read(state->getMemoryCellMatrix(0)), worked.last_c, worked.tolerance, "final c");
  }
}

std::vector<Worked> worked_numbers() {
  const std::map<RNNMatrixId, Row> r3{{SingleGateInputWeights, {0.5, -1, 0.25, 0.75}},
                                      {SingleGateRecurrentWeights, {0.1, 0.2, -0.3, 0.4}},
                                      {SingleGateBiasTerms, {0.05, -0.1}}};
  const std::vector<Rows> r3_x{{{1, 0.5}}, {{-0.5, 2}}}, r3_g{{{1, 0}}, {{0, 1}}};
  std::vector<Worked> list{
      {.name = "R3_identity",
       .cell = {.inputs = 2, .outputs = 2, .matrices = r3},
       .x = r3_x,
       .gradients = r3_g,
       .h = {{{0.05, 0.525}}, {{-2.09, 1.47}}},
       .dx = {{{0.45, -0.4}}, {{0.25, 0.75}}},
       .weights = {{SingleGateInputWeights, {0.7, 0.35, -0.1, 2.2}},
                   {SingleGateRecurrentWeights, {0, 0, 0.05, 0.525}},
                   {SingleGateBiasTerms, {0.7, 1.4}}},
       .dh0 = {{-0.05, 0.3}}},
      {.name = "R3_tanh",
       .cell = {.inputs = 2, .outputs = 2, .neurons = {tanh_one}, .matrices = r3},
       .x = r3_x,
       .gradients = r3_g,
       .h = {{{0.04995837496, 0.4815497984}}, {{-0.9703758127, 0.8962121653}}},
       .dx = {{{0.4844218849, -0.8932603242}}, {{0.04920093869, 0.1476028161}}},
       .weights = {{SingleGateInputWeights,
                    {0.9386103915, 0.4693051958, -0.03793512095, 0.4238408877}},
                   {SingleGateRecurrentWeights, {0, 0, 0.009831995773, 0.09477080842}},
                   {SingleGateBiasTerms, {0.9386103915, 0.2572705112}}},
       .dh0 = {{0.07572101222, 0.2119087809}}},
      {.name = "R3b_shrinking_rows",
       .cell = {.matrices = {{SingleGateInputWeights, {1}},
                             {SingleGateRecurrentWeights, {0.5}},
                             {SingleGateBiasTerms, {0}}}},
       .x = {{{1}, {2}}, {{3}}},
       .gradients = {{{1}, {1}}, {{1}}},
       .h = {{{1}, {2}}, {{3.5}}},
       .dx = {{{1.5}, {1}}, {{1}}},
       .weights = {{SingleGateInputWeights, {6.5}},
                   {SingleGateRecurrentWeights, {1}},
                   {SingleGateBiasTerms, {3.5}}},
       .dh0 = {{0.75}, {0.5}},
       .last_h = {{3.5}, {2}}}};

  // R4: h_0, h_1, dx0, dx1, dh(-1), then W, U and b of z, r and h.
  const auto add_gru = [&](const std::string& name, RecurrentCell cell, const Row& n) {
    cell.kind = gru;
    cell.neurons = {logistic, logistic, tanh_one, Activation{}};
    const std::array ids{
        GRUInputGateInputWeights,     GRUInputGateRecurrentWeights,     GRUInputGateBiasTerms,
        GRURecurrentGateInputWeights, GRURecurrentGateRecurrentWeights, GRURecurrentGateBiasTerms,
        GRUOutputGateInputWeights,    GRUOutputGateRecurrentWeights,    GRUOutputGateBiasTerms,
        GRUOutputGateInputGateWeights};
    const std::array values{0.5, -0.4, 0.1, -0.3, 0.8, 0.2, 1.0, 0.6, -0.1};
    std::map<RNNMatrixId, Row> weights;
    for (std::size_t i = 0; i < values.size(); ++i) cell.matrices[ids[i]] = {values[i]};
    for (std::size_t i = 5; i < n.size(); ++i) weights[ids[i - 5]] = {n[i]};
    list.push_back({.name = name,
                    .cell = cell,
                    .x = {{{1}}, {{-0.5}}},
                    .gradients = {{{0}}, {{1}}},
                    .h0 = {{0.3}},
                    .h = {{{n[0]}}, {{n[1]}}},
                    .dx = {{{n[2]}}, {{n[3]}}},
                    .weights = weights,
                    .dh0 = {{n[4]}},
                    .last_h = {{n[1]}}});
  };
  add_gru("R4_p1", {},
          {0.4758480298, -0.02780761963, 0.05859082504, 0.5924901282, 0.4012451148, -0.1653302817,
           0.08144303681, 0.1487446576, -0.01153433139, 0.01602856056, 0.03517555435, -0.1584493976,
           0.1741322327, 0.5872612907});
  add_gru("R4_flip", {.flip = true},
          {0.5841834996, 0.2086750969, 0.266297235, 0.2380575822, 0.3689594771, 0.204469968,
           -0.1026292896, -0.1305354089, -0.003340386299, 0.01855871371, 0.03662407002,
           0.04403134405, 0.1807294016, 0.5806097426});
  add_gru("R4_p2", {.p = 2},
          {0.7829950855, 0.06893596398, 0.2173025552, 0.9444925733, 0.5676323754, -0.1574638489,
           0.1493784287, 0.1586432556, -0.02925798342, 0.06642879337, 0.0916529242, -0.184989202,
           0.5306005958, 1.109969378});
  add_gru("R4_vh", {.matrices = {{GRUOutputGateInputGateWeights, {0.5}}}},
          {0.4897863789, 0.03264609213, 0.05576767226, 0.6364129462, 0.515656281, -0.1872658099,
           0.08539599026, 0.1446631071, -0.01294388172, 0.01814356826, 0.03869851057, -0.1726890604,
           0.1931699833, 0.6314586181, 0.1264761482});
  list.push_back({.name = "R4_reset_placement",
                  .cell = {.kind = gru,
                           .outputs = 2,
                           .neurons = {logistic, logistic, tanh_one, Activation{}},
                           .matrices = {{GRUInputGateInputWeights, {0, 0}},
                                        {GRUInputGateRecurrentWeights, {0, 0, 0, 0}},
                                        {GRURecurrentGateInputWeights, {1, -1}},
                                        {GRURecurrentGateRecurrentWeights, {0, 0, 0, 0}},
                                        {GRUOutputGateInputWeights, {0, 0}},
                                        {GRUOutputGateRecurrentWeights, {0.5, 1, -1, 0.5}}}},
                  .x = {{{1}}},
                  .gradients = {{{1, 1}}},
                  .h0 = {{0.8, -0.6}},
                  .h = {{{0.4651566645, -0.5910156822}}},
                  .dx = {{{0.06413468392}}},
                  .weights = {{GRUOutputGateRecurrentWeights,
                               {0.2874576243, -0.07931231264, 0.1933619209, -0.05335040656}},
                              {GRURecurrentGateInputWeights, {-0.01334839882, -0.07748308274}}},
                  .dh0 = {{0.4379586140, 0.6766458599}}});

  // R5: W, U, b and V of i, f, c and o.
  const std::array w{LSTMInputGateInputWeights, LSTMForgetGateInputWeights,
                     LSTMMemoryGateInputWeights, LSTMOutputGateInputWeights};
  const std::array u{LSTMInputGateRecurrentWeights, LSTMForgetGateRecurrentWeights,
                     LSTMMemoryGateRecurrentWeights, LSTMOutputGateRecurrentWeights};
  const std::array b{LSTMInputGateBiasTerms, LSTMForgetGateBiasTerms, LSTMMemoryGateBiasTerms,
                     LSTMOutputGateBiasTerms};
  const std::array v{LSTMInputGateMemoryWeights, LSTMForgetGateMemoryWeights,
                     LSTMMemoryGateMemoryWeights, LSTMOutputGateMemoryWeights};
  const auto gates = [&](const Row& of_w, const Row& of_u, const Row& of_b, const Row& of_v) {
    std::map<RNNMatrixId, Row> all;
    for (std::size_t gate = 0; gate < 4; ++gate) {
      all[w[gate]] = {of_w[gate]};
      all[u[gate]] = {of_u[gate]};
      all[b[gate]] = {of_b[gate]};
      if (!of_v.empty()) all[v[gate]] = {of_v[gate]};
    }
    return all;
  };
  RecurrentCell cell{.kind = lstm, .neurons = {logistic, logistic, tanh_one, logistic}};
  const Row of_w{0.5, -0.3, 1, 0.7}, of_u{-0.4, 0.8, 0.6, 0.2}, of_b{0.1, 1, -0.1, 0};
  cell.matrices = gates(of_w, of_u, of_b, {});
  const std::vector<Rows> x{{{1}}, {{-0.5}}}, g{{{0}}, {{1}}};
  list.push_back({.name = "R5",
                  .cell = cell,
                  .x = x,
                  .gradients = g,
                  .h = {{{0.2887273718}}, {{0.08225163127}}},
                  .dx = {{{0.1698994693}}, {{0.1531356224}}},
                  .weights = gates({0.08672684469, -0.01527808856, 0.05248113353, -0.01013760613},
                                   {-0.01175403423, 0.008822404709, 0.04322025641, 0.01359703986},
                                   {0.02566214121, 0.03055617711, 0.2770195423, 0.0605019029}, {}),
                  .dh0 = {{0.05252936383}},
                  .dc0 = {{0.2706221211}},
                  .last_c = {{0.1948522017}}});
  cell.matrices = gates(of_w, of_u, of_b, {0.3, -0.2, 0.4, 0.5});
  for (const bool diagonal : {false, true}) {
    cell.diagonal = diagonal;
    list.push_back(
        {.name = diagonal ? "R5_diagonal_peepholes" : "R5_peepholes",
         .cell = cell,
         .x = x,
         .gradients = g,
         .h0 = {{0.2}},
         .c0 = {{-0.4}},
         .h = {{{0.08877899298}}, {{-0.04551650559}}},
         .dx = {{{0.1723936471}}, {{0.09745243956}}},
         .weights = gates({0.09041643143, -0.03750833858, 0.05571707878, 0.01641375894},
                          {0.009795482437, -0.005825512129, 0.03777194019, -0.001838394537},
                          {0.02456320498, -0.0241899426, 0.2673019909, -0.02427784221},
                          {-0.0330583448, 0.01437471615, -0.03227349635, 0.003437558405}),
         .dh0 = {{0.0224759671}},
         .dc0 = {{0.3719629704}},
         .last_c = {{-0.1131443368}}});
  }
  return list;
}
INSTANTIATE_TEST_SUITE_P(Worked, RecurrentSpec, testing::ValuesIn(worked_numbers()),
                         [](const auto& row) { return row.param.name; });

// ---- sequences ----------------------------------------------------------------------------------

const std::vector<RecurrentCell::Kind> kinds{single, gru, lstm};

TEST(RecurrentSequences, two_parts_are_the_whole) {
  for (const auto kind : kinds) {
    for (const std::vector<std::size_t>& rows :
         {std::vector<std::size_t>{3, 3, 3, 3, 3}, {3, 3, 2, 2, 1}}) {
      SCOPED_TRACE(name_of(kind) + (rows.back() == 1 ? ", ragged" : ""));
      const Trained trained(random_cell(kind, 2, 3));
      const auto x = random_steps(rows, 2, 20), g = random_steps(rows, 3, 40);
      const bool has_cell = kind == lstm;
      const auto begin = state_with(3, has_cell, random_rows(3, 3, 60), random_rows(3, 3, 61));
      const auto after = state_with(3, has_cell, random_rows(3, 3, 62), random_rows(3, 3, 63));
      const Passes whole(trained, x, g, begin, after);

      constexpr std::size_t cut = 2;
      const auto all_x = matrices_of(x), all_g = matrices_of(g);
      const auto y = room_for(x, 3), dx = room_for(x, 2);
      const auto dw = trained.gradients();
      const auto first = [](const std::vector<Matrix>& list) { return std::span(list).first(cut); };
      const auto rest = [](const std::vector<Matrix>& list) {
        return std::span(list).subspan(cut);
      };
      RNNMatrixTrainingLayer adding = trained.layer.copy();
      adding.setAccumulateWeightGradients(true);
      RecurrentStates states, before;
      TrainingStates early, late;
      const RNNMatrixTrainingLayer& layer = trained.layer;
      run([&](const CommandBuffer& buffer) {
        layer.encodeForwardSequence(buffer, first(all_x), {}, first(y), {}, &early, begin, &states,
                                    trained.weights);
        layer.encodeForwardSequence(buffer, rest(all_x), {}, rest(y), {}, &late,
                                    RNNRecurrentMatrixStatePtr(states.at(0)), &states,
                                    trained.weights);
        layer.encodeGradientSequence(buffer, rest(all_x), {}, rest(all_g), {}, rest(dx), {}, dw,
                                     late, after, &before, trained.weights);
        adding.encodeGradientSequence(buffer, first(all_x), {}, first(all_g), {}, first(dx), {}, dw,
                                      early, RNNRecurrentMatrixStatePtr(before.at(0)), &before,
                                      trained.weights);
      });
      constexpr double tolerance = 2e-6;
      expect_near(read_all(y), read_all(whole.y), tolerance, "y");
      expect_near(read_all(dx), read_all(whole.dx), tolerance, "dx");
      expect_near(read_all(dw), read_all(whole.dw), 4 * tolerance, "weights");
      ASSERT_EQ(states.size(), 2U);
      ASSERT_EQ(before.size(), 2U);
      expect_near(read(states[1]->getRecurrentOutputMatrix(0)),
                  read(whole.states[0]->getRecurrentOutputMatrix(0)), tolerance, "h");
      expect_near(read(before[1]->getRecurrentOutputMatrix(0)),
                  read(whole.before[0]->getRecurrentOutputMatrix(0)), tolerance, "dh");
      if (!has_cell) continue;
      expect_near(read(states[1]->getMemoryCellMatrix(0)),
                  read(whole.states[0]->getMemoryCellMatrix(0)), tolerance, "c");
      expect_near(read(before[1]->getMemoryCellMatrix(0)),
                  read(whole.before[0]->getMemoryCellMatrix(0)), tolerance, "dc");
    }
  }
}

TEST(RecurrentSequences, a_state_of_every_step) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const std::vector<std::size_t> rows{3, 2, 2, 1};
    const RecurrentCell cell = random_cell(kind, 2, 3);
    Trained trained(cell);
    trained.layer.setStoreAllIntermediateStates(true);
    RNNMatrixInferenceLayer inference(tested(), descriptor_of(cell));
    inference.setStoreAllIntermediateStates(true);
    const auto x = random_steps(rows, 2, 20), g = random_steps(rows, 3, 40);
    const Passes passes(trained, x, g);
    const auto y = room_for(x, 3);
    RecurrentStates states;
    run([&](const CommandBuffer& buffer) {
      inference.encodeSequence(buffer, passes.x, y, nullptr, &states);
      inference.encodeSequence(buffer, passes.x, y, nullptr, &states);  // appended
    });
    ASSERT_EQ(states.size(), 8U);
    ASSERT_EQ(passes.states.size(), 4U);
    ASSERT_EQ(passes.before.size(), 4U);
    const oracle::Walk wanted = oracle::walk(cell, x, Rows(3, Row(3)), Rows(3, Row(3)));
    for (std::size_t t = 0; t < 4; ++t) {
      for (const auto& state : {states[t], states[t + 4], passes.states[t]}) {
        const std::string what = "after step " + std::to_string(t);
        expect_near(read(state->getRecurrentOutputMatrix(0)), wanted.hidden[t], 2e-6, what);
        if (kind == lstm)
          expect_near(read(state->getMemoryCellMatrix(0)), wanted.cell[t], 2e-6, what);
      }
    }
    // A sequence begun in the middle, and its gradients: those that leave step 2 toward step 1.
    constexpr std::size_t cut = 2;
    const std::vector<Rows> rest_x(x.begin() + cut, x.end()), rest_g(g.begin() + cut, g.end());
    const Passes rest(trained, rest_x, rest_g, passes.states[cut - 1]);
    expect_near(read_all(rest.y), {wanted.outputs.begin() + cut, wanted.outputs.end()}, 2e-6, "y");
    for (std::size_t t = 0; t < rest.before.size(); ++t) {
      expect_near(read(rest.before[t]->getRecurrentOutputMatrix(0)),
                  read(passes.before[cut + t]->getRecurrentOutputMatrix(0)), 2e-6,
                  "dh before step " + std::to_string(cut + t));
      if (kind != lstm) continue;
      expect_near(read(rest.before[t]->getMemoryCellMatrix(0)),
                  read(passes.before[cut + t]->getMemoryCellMatrix(0)), 2e-6,
                  "dc before step " + std::to_string(cut + t));
    }
  }
}

TEST(RecurrentSequences, forward_step_by_step_and_one_gradient) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const std::vector<std::size_t> rows{2, 2, 2, 2};
    const Trained trained(random_cell(kind, 3, 2));
    const auto x = random_steps(rows, 3, 20), g = random_steps(rows, 2, 40);
    const Passes whole(trained, x, g);
    TrainingStates training;
    RecurrentStates states, before;
    const auto y = room_for(x, 2), dx = room_for(x, 3);
    const auto dw = trained.gradients();
    run([&](const CommandBuffer& buffer) {
      for (std::size_t t = 0; t < 4; ++t) {
        trained.layer.encodeForwardSequence(
            buffer, std::span(whole.x).subspan(t, 1), {}, std::span(y).subspan(t, 1), {}, &training,
            t == 0 ? nullptr : RNNRecurrentMatrixStatePtr(states.back()), &states, trained.weights);
      }
      trained.layer.encodeGradientSequence(buffer, whole.x, {}, whole.g, {}, dx, {}, dw, training,
                                           nullptr, &before, trained.weights);
    });
    ASSERT_EQ(training.size(), 4U);
    ASSERT_EQ(states.size(), 4U);
    expect_near(read_all(y), read_all(whole.y), 1e-6, "y");
    expect_near(read_all(dx), read_all(whole.dx), 1e-6, "dx");
    expect_near(read_all(dw), read_all(whole.dw), 4e-6, "weights");
  }
}

const std::string spent =
    " is read for the last time already; needed a temporary state with reads "
    "left. Raise readCount once for every encode that reads it.";

TEST(RecurrentSequences, temporary_states_are_read_once) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const std::vector<std::size_t> rows{2, 2, 2};
    Trained trained(random_cell(kind, 2, 3));
    const auto x = random_steps(rows, 2, 20), g = random_steps(rows, 3, 40);
    const Passes whole(trained, x, g);
    const Passes one(trained, {x[0]}, {g[0]});
    trained.layer.setTrainingStateIsTemporary(true);
    trained.layer.setRecurrentOutputIsTemporary(true);
    const auto y = room_for(x, 3), dx = room_for(x, 2), dx_of_one = room_for({x[0]}, 2);
    const auto dw = trained.gradients(), dw_of_one = trained.gradients();
    TrainingStates training, others;
    RecurrentStates states, before;
    const RNNMatrixTrainingLayer& layer = trained.layer;
    run([&](const CommandBuffer& buffer) {
      layer.encodeForwardSequence(buffer, whole.x, {}, y, {}, &training, nullptr, &states,
                                  trained.weights);
      for (const auto& state : training) {
        EXPECT_TRUE(state->isTemporary());
        EXPECT_EQ(state->readCount(), 1U);
      }
      ASSERT_EQ(states.size(), 1U);
      EXPECT_TRUE(states[0]->isTemporary());
      EXPECT_EQ(states[0]->readCount(), 1U);
      training[0]->setReadCount(2);
      layer.encodeGradientSequence(buffer, whole.x, {}, whole.g, {}, dx, {}, dw, training, nullptr,
                                   &before, trained.weights);
      EXPECT_EQ(training[0]->readCount(), 1U);
      EXPECT_EQ(training[1]->readCount(), 0U);
      EXPECT_EQ(training[2]->readCount(), 0U);
      EXPECT_TRUE(before.at(0)->isTemporary());
      expect_refusal(
          [&] {
            layer.encodeGradientSequence(buffer, whole.x, whole.g, dx, dw, training,
                                         trained.weights);
          },
          "RNNMatrixTrainingState: the state" + spent);
      // The state that is left keeps its memory while that of the others is used again.
      layer.encodeForwardSequence(buffer, whole.x, {}, y, {}, &others, states[0], nullptr,
                                  trained.weights);
      EXPECT_EQ(states[0]->readCount(), 0U);
      expect_refusal(
          [&] {
            layer.encodeForwardSequence(buffer, whole.x, {}, y, {}, &others, states[0], nullptr,
                                        trained.weights);
          },
          "RNNRecurrentMatrixState: the state" + spent);
      layer.encodeGradientSequence(buffer, std::span(whole.x).first(1), std::span(whole.g).first(1),
                                   dx_of_one, dw_of_one, std::span(training).first(1),
                                   trained.weights);
      EXPECT_EQ(training[0]->readCount(), 0U);
      layer.encodeGradientSequence(buffer, whole.x, {}, whole.g, {}, room_for(x, 2), {}, {}, others,
                                   before[0], nullptr, trained.weights);
      EXPECT_EQ(before[0]->readCount(), 0U);
      expect_refusal(
          [&] {
            layer.encodeGradientSequence(buffer, one.x, {}, one.g, {}, {}, {}, {}, one.training,
                                         before[0], nullptr, trained.weights);
          },
          "RNNRecurrentMatrixState: the state" + spent);
    });
    expect_near(read_all(dx), read_all(whole.dx), 1e-6, "dx");
    expect_near(read_all(dw), read_all(whole.dw), 2e-6, "weights");
    expect_near(read_all(dx_of_one), read_all(one.dx), 1e-6, "dx of the first step");
    expect_near(read_all(dw_of_one), read_all(one.dw), 2e-6, "weights of the first step");
  }
}

TEST(RecurrentSequences, temporary_states_of_inference) {
  const RecurrentCell cell = random_cell(lstm, 2, 3);
  RNNMatrixInferenceLayer layer(tested(), descriptor_of(cell));
  layer.setRecurrentOutputIsTemporary(true);
  const auto x = random_steps({2, 2}, 2, 20);
  const auto sources = matrices_of(x), y = room_for(x, 3);
  RecurrentStates states;
  run([&](const CommandBuffer& buffer) {
    layer.encodeSequence(buffer, std::span(sources).first(1), std::span(y).first(1), nullptr,
                         &states);
    ASSERT_EQ(states.size(), 1U);
    EXPECT_TRUE(states[0]->isTemporary());
    layer.encodeSequence(buffer, std::span(sources).last(1), std::span(y).last(1), states[0],
                         nullptr);
    EXPECT_EQ(states[0]->readCount(), 0U);
    expect_refusal([&] { layer.encodeSequence(buffer, sources, y, states[0], nullptr); },
                   "RNNRecurrentMatrixState: the state" + spent);
  });
  const oracle::Walk wanted = oracle::walk(cell, x, Rows(2, Row(3)), Rows(2, Row(3)));
  expect_near(read_all(y), wanted.outputs, 2e-6, "y");
}

TEST(RecurrentSequences, temporary_matrices_lose_one_read) {
  Trained trained(random_cell(gru, 2, 3));
  const RNNMatrixInferenceLayer inference(tested(), descriptor_of(random_cell(gru, 2, 3)));
  const auto x = random_steps({2, 2}, 2, 20), g = random_steps({2, 2}, 3, 40);
  const Passes whole(trained, x, g);
  const auto y = room_for(x, 3), dx = room_for(x, 2);
  const auto sums = trained.gradients();
  const Rows zeros(3, Row(2));
  const Matrix out = matrix_of(random_rows(3, 2, 5)), after = matrix_of(random_rows(3, 2, 6));
  run([&](const CommandBuffer& buffer) {
    const TemporaryMatrix source(buffer, plain(2, 4));
    source.setReadCount(3);
    const std::vector<Matrix> same{source, source};
    const std::vector<std::size_t> offsets{0, 2 * sizeof(float)};
    inference.encodeSequence(buffer, same, offsets, y, {}, nullptr, nullptr);
    EXPECT_EQ(source.readCount(), 2U);  // one encode, one read
    TrainingStates training;
    trained.layer.encodeForwardSequence(buffer, same, offsets, y, {}, &training, nullptr, nullptr,
                                        trained.weights);
    EXPECT_EQ(source.readCount(), 1U);
    trained.layer.encodeGradientSequence(buffer, same, offsets, whole.g, {}, dx, {}, sums, training,
                                         nullptr, nullptr, trained.weights);
    EXPECT_EQ(source.readCount(), 0U);

    std::vector<Matrix> list;
    trained.layer.createTemporaryWeightGradientMatrices(&list, DataType::Float32, buffer);
    ASSERT_EQ(list.size(), trained.weights.size());
    for (const Matrix& matrix : list) {
      EXPECT_TRUE(matrix.is_temporary());
      EXPECT_EQ(matrix.readCount(), 1U);
    }
    list[0].setReadCount(2);
    trained.layer.encodeCopyWeights(buffer, list, GRUInputGateInputWeights, out, true, {});
    EXPECT_EQ(list[0].readCount(), 1U);
    trained.layer.encodeGradientSequence(buffer, whole.x, whole.g, {}, list, whole.training,
                                         trained.weights);
    EXPECT_EQ(list[0].readCount(), 1U);  // written
    trained.layer.encodeCopyWeights(buffer, list, GRUInputGateInputWeights, after, true, {});
    EXPECT_EQ(list[0].readCount(), 0U);
    EXPECT_EQ(list[1].readCount(), 1U);
  });
  expect_near(read(out), zeros, 0, "a new gradient");
  expect_near(read(after), trained.take(whole.dw, GRUInputGateInputWeights, 3, 2), 1e-6, "dWz");
}

TEST(RecurrentSequences, weights_are_flat_vectors_quick) {
  RecurrentCell cell = random_cell(lstm, 2, 3);
  cell.diagonal = true;
  for (const auto& gate : cell.gates()) cell.matrices[gate.memory] = {0.5, -0.25, 0.75};
  cell.matrices.erase(LSTMMemoryGateMemoryWeights);
  cell.matrices.erase(LSTMForgetGateRecurrentWeights);  // a null source: there, and zero
  const Trained trained(cell);
  std::vector<Matrix> more;
  trained.layer.createWeightMatrices(&more);
  trained.layer.createWeightMatrices(&more);  // appended
  const std::vector<Matrix> gradients = trained.gradients();
  ASSERT_EQ(trained.weights.size(), 15U);
  ASSERT_EQ(gradients.size(), 15U);
  ASSERT_EQ(more.size(), 30U);
  std::size_t index = 0;
  for (const auto& gate : cell.gates()) {
    for (const auto id : {gate.input, gate.recurrent, gate.memory, gate.bias}) {
      if (id == LSTMMemoryGateMemoryWeights) continue;
      const std::size_t rows = id == gate.input || id == gate.recurrent ? 3 : 1;
      const std::size_t columns = id == gate.input ? 2 : 3;
      const auto found = cell.matrices.find(id);
      const Row values = found == cell.matrices.end() ? Row(rows * columns) : found->second;
      for (const Matrix& matrix : {trained.weights[index], gradients[index], more[index]}) {
        EXPECT_EQ(matrix.rows(), rows) << index;
        EXPECT_EQ(matrix.columns(), columns) << index;
        EXPECT_EQ(matrix.offset(), 0U);
        EXPECT_EQ(matrix.dataType(), DataType::Float32);
        EXPECT_EQ(matrix.rowBytes(), MatrixDescriptor::rowBytes(columns, DataType::Float32));
        EXPECT_EQ(matrix.data().length(), rows * matrix.rowBytes());
      }
      const std::vector<float> all = trained.weights[index].data().values<float>();
      const std::size_t stride = trained.weights[index].rowBytes() / sizeof(float);
      for (std::size_t i = 0; i < all.size(); ++i) {
        const std::size_t row = i / stride, column = i % stride;
        const double wanted = column < columns ? values.at(row * columns + column) : 0;
        EXPECT_EQ(all[i], static_cast<float>(wanted)) << index << ", element " << i;
      }
      for (const float value : more[index].data().values<float>()) EXPECT_EQ(value, 0.0F);
      for (std::size_t other = 0; other < index; ++other)
        EXPECT_FALSE(trained.weights[other].data() == trained.weights[index].data());
      ++index;
    }
  }
  EXPECT_EQ(index, 15U);
}

TEST(RecurrentSequences, copies_of_weights_both_ways_quick) {
  const Trained trained(random_cell(single, 2, 3));
  for (const DataType type : {DataType::Float32, DataType::Float16}) {
    const Rows from = random_rows(5, 4, 7);
    const Matrix whole(tested(), plain(5, 4, type)), back(tested(), plain(5, 4, type));
    write(whole, from);
    write(back, Rows(5, Row(4, 9)));
    run([&](const CommandBuffer& buffer) {
      trained.layer.encodeCopyWeights(buffer, trained.weights, SingleGateInputWeights, whole, false,
                                      {2, 1, 0});
      trained.layer.encodeCopyWeights(buffer, trained.weights, SingleGateInputWeights, back, true,
                                      {1, 2, 0});
    });
    Rows wanted(5, Row(4, 9));
    for (std::size_t r = 0; r < 3; ++r)
      for (std::size_t k = 0; k < 2; ++k) wanted[1 + r][2 + k] = from[2 + r][1 + k];
    expect_near(read(back), wanted, 0, "there and back");
    EXPECT_EQ(read(whole), from);
    // Padding stays zero.
    const std::vector<float> all = trained.weights[0].data().values<float>();
    for (std::size_t r = 0; r < 3; ++r)
      for (std::size_t k = 2; k < 4; ++k) EXPECT_EQ(all.at(r * 4 + k), 0.0F);
  }
}

TEST(RecurrentSequences, gradients_of_half_precision) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const Trained trained(random_cell(kind, 2, 3));
    const auto x = random_steps({2, 2}, 2, 20), g = random_steps({2, 2}, 3, 40);
    const Passes whole(trained, x, g);
    const auto halves_of = trained.gradients(DataType::Float16);
    run([&](const CommandBuffer& buffer) {
      trained.layer.encodeGradientSequence(buffer, whole.x, whole.g, {}, halves_of, whole.training,
                                           trained.weights);
    });
    expect_near(read_all(halves_of), read_all(whole.dw), 2e-3, "weights");
    RNNMatrixTrainingLayer adding = trained.layer.copy();
    adding.setAccumulateWeightGradients(true);
    run([&](const CommandBuffer& buffer) {
      adding.encodeGradientSequence(buffer, whole.x, whole.g, {}, halves_of, whole.training,
                                    trained.weights);
    });
    std::vector<Rows> twice = read_all(whole.dw);
    for (Rows& rows : twice)
      for (Row& row : rows)
        for (double& value : row) value *= 2;
    expect_near(read_all(halves_of), twice, 5e-3, "weights, twice");
  }
}

TEST(RecurrentSequences, results_may_be_left_out) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const Trained trained(random_cell(kind, 2, 3));
    const auto x = random_steps({2, 1}, 2, 20), g = random_steps({2, 1}, 3, 40);
    const Passes whole(trained, x, g);
    const auto dx = room_for(x, 2), y = room_for(x, 3);
    const auto dw = trained.gradients();
    TrainingStates training;
    RecurrentStates before;
    run([&](const CommandBuffer& buffer) {
      trained.layer.encodeForwardSequence(buffer, whole.x, {}, y, {}, &training, nullptr, nullptr,
                                          trained.weights);
      trained.layer.encodeGradientSequence(buffer, whole.x, whole.g, dx, {}, training,
                                           trained.weights);
      trained.layer.encodeGradientSequence(buffer, whole.x, whole.g, {}, dw, training,
                                           trained.weights);
      trained.layer.encodeGradientSequence(buffer, whole.x, {}, whole.g, {}, {}, {}, {}, training,
                                           nullptr, &before, trained.weights);
    });
    EXPECT_EQ(read_all(y), read_all(whole.y));
    EXPECT_EQ(read_all(dx), read_all(whole.dx));
    EXPECT_EQ(read_all(dw), read_all(whole.dw));
    EXPECT_EQ(read(before.at(0)->getRecurrentOutputMatrix(0)),
              read(whole.before.at(0)->getRecurrentOutputMatrix(0)));
  }
}

TEST(RecurrentSequences, sources_are_loaded_and_purged_quick) {
  const auto w = std::make_shared<GateWeights>(2, 3, std::vector<float>(6, 0.5F));
  const auto u = std::make_shared<GateWeights>(3, 3, std::vector<float>(9, 0.25F));
  const auto descriptor = RNNSingleGateDescriptor::createRNNSingleGateDescriptor(2, 3);
  descriptor->setInputWeights(w);
  descriptor->setRecurrentWeights(u);
  std::vector<Matrix> weights;
  const RNNMatrixTrainingLayer training(tested(), descriptor, &weights);
  const RNNMatrixInferenceLayer inference(tested(), descriptor);
  for (const auto& source : {w, u}) {
    EXPECT_GE(source->loads, 2);
    EXPECT_EQ(source->loads, source->purges);
  }
}

TEST(RecurrentSequences, states_are_copies) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const RecurrentCell cell = random_cell(kind, 2, 3);
    const Trained trained(cell);
    const auto x = random_steps({2, 2}, 2, 20), g = random_steps({2, 2}, 3, 40);
    const Passes whole(trained, x, g);
    const auto y = room_for(x, 3);
    TrainingStates training;
    RecurrentStates states;
    run([&](const CommandBuffer& buffer) {
      trained.layer.encodeForwardSequence(buffer, whole.x, {}, y, {}, &training, nullptr, &states,
                                          trained.weights);
    });
    for (const Matrix& matrix : y) write(matrix, Rows(2, Row(3, 77)));
    const auto dx = room_for(x, 2);
    run([&](const CommandBuffer& buffer) {
      trained.layer.encodeGradientSequence(buffer, whole.x, whole.g, dx, {}, training,
                                           trained.weights);
    });
    EXPECT_EQ(read_all(dx), read_all(whole.dx));
    EXPECT_EQ(read(states.at(0)->getRecurrentOutputMatrix(0)), read(whole.y.back()));
    EXPECT_EQ(static_cast<bool>(states[0]->getMemoryCellMatrix(0)), kind == lstm);
    EXPECT_FALSE(states[0]->getRecurrentOutputMatrix(1));
    EXPECT_FALSE(states[0]->getMemoryCellMatrix(1));
  }
}

TEST(RecurrentSequences, copies_and_archives) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const RecurrentCell cell = random_cell(kind, 2, 3);
    Trained trained(cell);
    RNNMatrixTrainingLayer& layer = trained.layer;
    layer.setLabel("train");
    layer.setStoreAllIntermediateStates(true);
    layer.setRecurrentOutputIsTemporary(true);
    layer.setTrainingStateIsTemporary(true);
    layer.setAccumulateWeightGradients(true);
    RNNMatrixInferenceLayer inference(tested(), descriptor_of(cell));
    inference.setLabel("infer");
    inference.setStoreAllIntermediateStates(true);
    inference.setRecurrentOutputIsTemporary(true);
    inference.setBidirectionalCombineMode(RNNBidirectionalCombineMode::Concatenate);

    Coder layer_out, inference_out;
    layer.encodeWithCoder(layer_out);
    inference.encodeWithCoder(inference_out);
    Coder layer_in(layer_out.bytes()), inference_in(inference_out.bytes());
    const RNNMatrixTrainingLayer read_layer(layer_in, tested()), copied_layer = layer.copy();
    const RNNMatrixInferenceLayer read_inference(inference_in, tested()),
        copied_inference = inference.copy();

    const auto x = random_steps({2, 2}, 2, 20), g = random_steps({2, 2}, 3, 40);
    const auto sources = matrices_of(x), from = matrices_of(g);
    const auto outputs = [&](const RNNMatrixTrainingLayer& by) {
      const auto y = room_for(x, 3), dx = room_for(x, 2);
      const auto dw = trained.gradients();
      run([&](const CommandBuffer& buffer) {
        TrainingStates states;
        by.encodeForwardSequence(buffer, sources, y, &states, trained.weights);
        by.encodeGradientSequence(buffer, sources, from, dx, dw, states, trained.weights);
      });
      std::vector<Rows> all = read_all(y);
      for (const Rows& rows : read_all(dx)) all.push_back(rows);
      for (const Rows& rows : read_all(dw)) all.push_back(rows);
      return all;
    };
    const auto inferred = [&](const RNNMatrixInferenceLayer& by) {
      const auto y = room_for(x, 3);
      run([&](const CommandBuffer& buffer) {
        by.encodeSequence(buffer, sources, y, nullptr, nullptr);
      });
      return read_all(y);
    };
    for (const RNNMatrixTrainingLayer* other : {&read_layer, &copied_layer}) {
      EXPECT_EQ(other->label(), "train");
      EXPECT_TRUE(other->storeAllIntermediateStates());
      EXPECT_TRUE(other->recurrentOutputIsTemporary());
      EXPECT_TRUE(other->trainingStateIsTemporary());
      EXPECT_TRUE(other->accumulateWeightGradients());
      EXPECT_EQ(other->inputFeatureChannels(), 2U);
      EXPECT_EQ(other->outputFeatureChannels(), 3U);
      EXPECT_EQ(outputs(*other), outputs(layer));
    }
    for (const RNNMatrixInferenceLayer* other : {&read_inference, &copied_inference}) {
      EXPECT_EQ(other->label(), "infer");
      EXPECT_TRUE(other->storeAllIntermediateStates());
      EXPECT_TRUE(other->recurrentOutputIsTemporary());
      EXPECT_EQ(other->bidirectionalCombineMode(), RNNBidirectionalCombineMode::Concatenate);
      EXPECT_EQ(other->numberOfLayers(), 1U);
      EXPECT_EQ(inferred(*other), inferred(inference));
    }
  }
}

/// Layers one after another.
std::vector<Rows> walk_stack(std::span<const RecurrentCell> cells, std::vector<Rows> x) {
  for (const RecurrentCell& cell : cells) {
    const Rows zero(x.front().size(), Row(cell.outputs));
    x = oracle::walk(cell, x, zero, zero).outputs;
  }
  return x;
}
/// Each sequence from its own last element to its first.
std::vector<Rows> walk_stack_back(std::span<const RecurrentCell> cells,
                                  const std::vector<Rows>& x) {
  std::vector<Rows> made;
  for (const Rows& rows : x) made.emplace_back(rows.size());
  for (std::size_t r = 0; r < x.front().size(); ++r) {
    std::vector<Rows> reversed;
    for (std::size_t t = x.size(); t-- > 0;)
      if (r < x[t].size()) reversed.push_back({x[t][r]});
    const std::vector<Rows> walked = walk_stack(cells, reversed);
    for (std::size_t s = 0; s < walked.size(); ++s) made[walked.size() - 1 - s][r] = walked[s][0];
  }
  return made;
}

TEST(RecurrentSequences, a_stack_is_its_layers) {
  const std::vector<RecurrentCell> cells{random_cell(gru, 2, 4, 3), random_cell(lstm, 4, 3, 9)};
  std::vector<std::shared_ptr<RNNDescriptor>> descriptors;
  for (const RecurrentCell& cell : cells) descriptors.push_back(descriptor_of(cell));
  descriptors[1]->setLayerSequenceDirection(RNNSequenceDirection::Backward);  // ignored
  const RNNMatrixInferenceLayer stack(tested(), descriptors);
  EXPECT_EQ(stack.numberOfLayers(), 2U);
  EXPECT_EQ(stack.inputFeatureChannels(), 2U);
  EXPECT_EQ(stack.outputFeatureChannels(), 3U);
  const RNNMatrixInferenceLayer below(tested(), descriptors[0]), above(tested(), descriptors[1]);
  const auto x = random_steps({3, 2, 2}, 2, 20);
  const auto sources = matrices_of(x);
  const auto y = room_for(x, 3), between = room_for(x, 4), apart = room_for(x, 3);
  RecurrentStates states, of_below, of_above;
  run([&](const CommandBuffer& buffer) {
    stack.encodeSequence(buffer, sources, y, nullptr, &states);
    below.encodeSequence(buffer, sources, between, nullptr, &of_below);
    above.encodeSequence(buffer, between, apart, nullptr, &of_above);
  });
  expect_near(read_all(y), read_all(apart), 1e-6, "y");
  expect_near(read_all(y), walk_stack(cells, x), 2e-6, "y of the oracle");
  const auto& state = states.at(0);
  expect_near(read(state->getRecurrentOutputMatrix(0)),
              read(of_below.at(0)->getRecurrentOutputMatrix(0)), 1e-6, "h of the first");
  expect_near(read(state->getRecurrentOutputMatrix(1)),
              read(of_above.at(0)->getRecurrentOutputMatrix(0)), 1e-6, "h of the second");
  expect_near(read(state->getMemoryCellMatrix(1)), read(of_above[0]->getMemoryCellMatrix(0)), 1e-6,
              "c of the second");
  EXPECT_FALSE(state->getMemoryCellMatrix(0));
  EXPECT_FALSE(state->getRecurrentOutputMatrix(2));
  // And goes on from there.
  run([&](const CommandBuffer& buffer) {
    stack.encodeSequence(buffer, sources, y, state, nullptr);
    below.encodeSequence(buffer, sources, between, of_below[0], nullptr);
    above.encodeSequence(buffer, between, apart, of_above[0], nullptr);
  });
  expect_near(read_all(y), read_all(apart), 1e-6, "y of the second part");
}

TEST(RecurrentSequences, same_bits_with_more_threads) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const RecurrentCell cell = random_cell(kind, 64, 64);
    const auto x = random_steps({32, 32, 20}, 64, 20), g = random_steps({32, 32, 20}, 64, 400);
    const auto results = [&](int threads) {
      const Device device = Device::cpu(threads);
      const Trained trained(cell, device);
      const Passes passes(trained, x, g, nullptr, nullptr, device);
      std::vector<Rows> all;
      for (const auto& list : {passes.y, passes.dx, passes.dw})
        for (const Rows& rows : read_all(list)) all.push_back(rows);
      return all;
    };
    EXPECT_TRUE(results(1) == results(3));
  }
}

TEST(RecurrentSequences, both_ways) {
  for (const std::vector<std::size_t>& rows : {std::vector<std::size_t>{2, 2, 2}, {4, 3, 3, 1}}) {
    const std::vector<RecurrentCell> ahead{random_cell(gru, 2, 4, 3), random_cell(lstm, 4, 3, 90)};
    const std::vector<RecurrentCell> back{random_cell(lstm, 2, 5, 200),
                                          random_cell(single, 5, 3, 300)};
    std::vector<std::shared_ptr<RNNDescriptor>> descriptors;  // interleaved
    for (std::size_t k = 0; k < 2; ++k) {
      descriptors.push_back(descriptor_of(back[k]));
      descriptors.back()->setLayerSequenceDirection(RNNSequenceDirection::Backward);
      descriptors.push_back(descriptor_of(ahead[k]));
    }
    const auto x = random_steps(rows, 2, 20);
    const auto wanted_ahead = walk_stack(ahead, x), wanted_back = walk_stack_back(back, x);
    const auto sources = matrices_of(x);
    RNNMatrixInferenceLayer layer(tested(), descriptors);
    const auto forward = room_for(x, 3), backward = room_for(x, 3), sums = room_for(x, 3);
    const auto wide = room_for(x, 6);
    run([&](const CommandBuffer& buffer) {
      layer.encodeBidirectionalSequence(buffer, sources, forward, backward);
      layer.setBidirectionalCombineMode(RNNBidirectionalCombineMode::Add);
      layer.encodeBidirectionalSequence(buffer, sources, sums, {});
      layer.setBidirectionalCombineMode(RNNBidirectionalCombineMode::Concatenate);
      layer.encodeBidirectionalSequence(buffer, sources, wide, {});
    });
    expect_near(read_all(forward), wanted_ahead, 2e-6, "forward");
    expect_near(read_all(backward), wanted_back, 2e-6, "backward");
    std::vector<Rows> wanted_sums = wanted_ahead, wanted_wide = wanted_ahead;
    for (std::size_t t = 0; t < x.size(); ++t) {
      for (std::size_t r = 0; r < x[t].size(); ++r) {
        for (std::size_t k = 0; k < 3; ++k) wanted_sums[t][r][k] += wanted_back[t][r][k];
        const Row& of_back = wanted_back[t][r];
        wanted_wide[t][r].insert(wanted_wide[t][r].end(), of_back.begin(), of_back.end());
      }
    }
    expect_near(read_all(sums), wanted_sums, 4e-6, "sums");
    expect_near(read_all(wide), wanted_wide, 2e-6, "side by side");
  }
}

TEST(RecurrentSequences, one_buffer_of_all_steps) {
  constexpr std::size_t n = 3, steps = 4, inputs = 2, outputs = 3;
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const RecurrentCell cell = random_cell(kind, inputs, outputs);
    const Trained trained(cell);
    const auto x = random_steps({n, n, n, n}, inputs, 20),
               g = random_steps({n, n, n, n}, outputs, 40);
    const Passes whole(trained, x, g);
    struct Walked {
      Matrix matrix;
      std::vector<Matrix> list;
      std::vector<std::size_t> offsets;

      Walked(std::size_t channels) {
        const std::size_t row = steps * channels * sizeof(float);
        matrix = Matrix(tested().makeBuffer(n * row),
                        MatrixDescriptor::matrixDescriptor(n, channels, row, DataType::Float32));
        list.assign(steps, matrix);
        for (std::size_t t = 0; t < steps; ++t) offsets.push_back(t * channels * sizeof(float));
      }
      [[nodiscard]] Matrix all() const {
        const std::size_t columns = matrix.rowBytes() / sizeof(float);
        return {matrix.data(), plain(n, columns)};
      }
      void fill(const std::vector<Rows>& values) const {
        Rows side_by_side(n);
        for (const Rows& rows : values)
          for (std::size_t r = 0; r < n; ++r)
            side_by_side[r].insert(side_by_side[r].end(), rows[r].begin(), rows[r].end());
        write(all(), side_by_side);
      }
      void expect(const std::vector<Matrix>& wanted, const char* what) const {
        const Rows got = read(all());
        for (std::size_t t = 0; t < steps; ++t) {
          const Rows rows = read(wanted[t]);
          for (std::size_t r = 0; r < n; ++r)
            for (std::size_t k = 0; k < rows[r].size(); ++k)
              EXPECT_NEAR(got[r][t * rows[r].size() + k], rows[r][k], 1e-6) << what << t;
        }
      }
    };
    const Walked sources(inputs), y(outputs), y_inference(outputs), from(outputs), dx(inputs);
    sources.fill(x);
    from.fill(g);
    TrainingStates training;
    const RNNMatrixInferenceLayer inference(tested(), descriptor_of(cell));
    run([&](const CommandBuffer& buffer) {
      trained.layer.encodeForwardSequence(buffer, sources.list, sources.offsets, y.list, y.offsets,
                                          &training, nullptr, nullptr, trained.weights);
      inference.encodeSequence(buffer, sources.list, sources.offsets, y_inference.list,
                               y_inference.offsets, nullptr, nullptr);
      trained.layer.encodeGradientSequence(buffer, sources.list, sources.offsets, from.list,
                                           from.offsets, dx.list, dx.offsets, {}, training, nullptr,
                                           nullptr, trained.weights);
    });
    y.expect(whole.y, "y");
    y_inference.expect(whole.y, "y of inference");
    dx.expect(whole.dx, "dx");
  }
}

// The state to begin with may be an element of the list that states are appended to, which moves
// its elements when it grows.
TEST(RecurrentSequences, a_state_of_the_list_that_grows) {
  for (const auto kind : kinds) {
    SCOPED_TRACE(name_of(kind));
    const RecurrentCell cell = random_cell(kind, 2, 3);
    const Trained trained(cell);
    const RNNMatrixInferenceLayer inference(tested(), descriptor_of(cell));
    const auto x = random_steps({2, 2}, 2, 20), g = random_steps({2, 2}, 3, 40);
    const Passes whole(trained, x, g);
    const auto y = room_for(x, 3), dx = room_for(x, 2), y_inference = room_for(x, 3);
    TrainingStates training;
    RecurrentStates states, of_inference, before;
    states.shrink_to_fit();
    run([&](const CommandBuffer& buffer) {
      for (std::size_t t = 0; t < 2; ++t) {
        const auto one = [&](const std::vector<Matrix>& list) {
          return std::span(list).subspan(t, 1);
        };
        if (t == 0) {
          trained.layer.encodeForwardSequence(buffer, one(whole.x), {}, one(y), {}, &training,
                                              nullptr, &states, trained.weights);
          inference.encodeSequence(buffer, one(whole.x), one(y_inference), nullptr, &of_inference);
          continue;
        }
        trained.layer.encodeForwardSequence(buffer, one(whole.x), {}, one(y), {}, &training,
                                            states.back(), &states, trained.weights);
        inference.encodeSequence(buffer, one(whole.x), one(y_inference), of_inference.back(),
                                 &of_inference);
      }
      trained.layer.encodeGradientSequence(buffer, std::span(whole.x).last(1), {},
                                           std::span(whole.g).last(1), {}, std::span(dx).last(1),
                                           {}, {}, std::span(training).last(1), nullptr, &before,
                                           trained.weights);
      trained.layer.encodeGradientSequence(buffer, std::span(whole.x).first(1), {},
                                           std::span(whole.g).first(1), {}, std::span(dx).first(1),
                                           {}, {}, std::span(training).first(1), before.back(),
                                           &before, trained.weights);
    });
    expect_near(read_all(y), read_all(whole.y), 1e-6, "y");
    expect_near(read_all(y_inference), read_all(whole.y), 1e-6, "y of inference");
    expect_near(read_all(dx), read_all(whole.dx), 1e-6, "dx");
  }
}

// ---- what is refused ----------------------------------------------------------------------------

/// A source that lacks what it should have.
class NoDescriptor final : public CNNConvolutionDataSource {
 public:
  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return nullptr;
  }
  [[nodiscard]] const void* weights() override { return nullptr; }
  [[nodiscard]] const float* biasTerms() override { return nullptr; }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "none"; }
};
class OtherDescriptor final : public RNNDescriptor {
 public:
  [[nodiscard]] std::string_view class_name() const override { return "OtherDescriptor"; }
};

const std::string infer = "RNNMatrixInferenceLayer: ", train = "RNNMatrixTrainingLayer: ";

/// What both layers say when they are made of this.
void expect_unmade(const std::shared_ptr<RNNDescriptor>& descriptor, const std::string& text) {
  expect_refusal([&] { const RNNMatrixInferenceLayer layer(tested(), descriptor); }, infer + text);
  std::vector<Matrix> weights;
  expect_refusal([&] { const RNNMatrixTrainingLayer layer(tested(), descriptor, &weights); },
                 train + text);
  EXPECT_TRUE(weights.empty());
}

TEST(RecurrentMessages, descriptors_quick) {
  const auto needs = [](const char* name, const char* argument) {
    return std::string(name) + ": " + argument + " is 0; needed 1 or more.";
  };
  constexpr const char *in = "inputFeatureChannels", *out = "outputFeatureChannels";
  using Single = RNNSingleGateDescriptor;
  expect_refusal([] { static_cast<void>(Single::createRNNSingleGateDescriptor(0, 1)); },
                 needs("RNNSingleGateDescriptor", in));
  expect_refusal([] { static_cast<void>(Single::createRNNSingleGateDescriptor(1, 0)); },
                 needs("RNNSingleGateDescriptor", out));
  expect_refusal([] { static_cast<void>(GRUDescriptor::createGRUDescriptor(0, 1)); },
                 needs("GRUDescriptor", in));
  expect_refusal([] { static_cast<void>(GRUDescriptor::createGRUDescriptor(1, 0)); },
                 needs("GRUDescriptor", out));
  expect_refusal([] { static_cast<void>(LSTMDescriptor::createLSTMDescriptor(0, 1)); },
                 needs("LSTMDescriptor", in));
  expect_refusal([] { static_cast<void>(LSTMDescriptor::createLSTMDescriptor(1, 0)); },
                 needs("LSTMDescriptor", out));
}

TEST(RecurrentMessages, what_no_layer_is_made_of_quick) {
  expect_unmade(nullptr, "rnnDescriptor is null; needed a descriptor.");
  expect_refusal(
      [] {
        const RNNMatrixInferenceLayer layer(tested(),
                                            std::span<const std::shared_ptr<RNNDescriptor>>{});
      },
      infer + "rnnDescriptors is empty; needed a descriptor for each layer.");
  expect_refusal(
      [] {
        const RNNMatrixTrainingLayer layer(tested(), descriptor_of(random_cell(single, 2, 3)),
                                           nullptr);
      },
      train + "trainableWeights is null; needed a list to append the weights to.");
  expect_unmade(std::make_shared<OtherDescriptor>(),
                "rnnDescriptor is of another class; needed RNNSingleGateDescriptor, GRUDescriptor "
                "or LSTMDescriptor. Correct the OtherDescriptor.");

  const auto gate = RNNSingleGateDescriptor::createRNNSingleGateDescriptor(2, 3);
  gate->setInputFeatureChannels(0);
  expect_unmade(gate,
                "inputFeatureChannels is 0; needed 1 to 536870911. Correct the "
                "RNNSingleGateDescriptor.");
  gate->setInputFeatureChannels(2);
  gate->setOutputFeatureChannels(536870912);
  expect_unmade(gate,
                "outputFeatureChannels is 536870912; needed 1 to 536870911. Correct the "
                "RNNSingleGateDescriptor.");
  gate->setOutputFeatureChannels(3);
  gate->setUseLayerInputUnitTransformMode(true);
  expect_unmade(gate,
                "useLayerInputUnitTransformMode is true with 2 input channels and 3 output "
                "channels; needed as many outputs as inputs. Correct the RNNSingleGateDescriptor.");
  const auto of_gru = GRUDescriptor::createGRUDescriptor(2, 3);
  of_gru->setGatePnormValue(0);
  expect_unmade(of_gru,
                "gatePnormValue is 0.000000; needed more than 0. Correct the GRUDescriptor.");
  of_gru->setGatePnormValue(-1);
  expect_unmade(of_gru,
                "gatePnormValue is -1.000000; needed more than 0. Correct the GRUDescriptor.");
  of_gru->setGatePnormValue(std::numeric_limits<float>::quiet_NaN());
  expect_unmade(of_gru, "gatePnormValue is nan; needed more than 0. Correct the GRUDescriptor.");
  const auto of_lstm = LSTMDescriptor::createLSTMDescriptor(2, 3);
  for (const auto type : {CNNNeuronType::PReLU, CNNNeuronType::Count, CNNNeuronType{-1}}) {
    of_lstm->setCellToOutputNeuronType(type);
    expect_unmade(of_lstm, "cellToOutputNeuronType is " + std::to_string(static_cast<int>(type)) +
                               "; needed a type from 0 to 15 without slopes. Correct the "
                               "LSTMDescriptor.");
  }
}

TEST(RecurrentMessages, sources_quick) {
  const auto descriptor = LSTMDescriptor::createLSTMDescriptor(2, 4);
  const auto source = [](std::size_t inputs, std::size_t outputs, std::size_t side = 1) {
    return std::make_shared<GateWeights>(inputs, outputs,
                                         std::vector<float>(inputs * outputs * side * side),
                                         std::vector<float>{}, NNNeuronDescriptor{}, side);
  };
  descriptor->setInputGateInputWeights(std::make_shared<NoDescriptor>());
  expect_unmade(descriptor,
                "weights \"none\" is without a descriptor; needed a descriptor of the weights.");
  descriptor->setInputGateInputWeights(source(2, 4, 3));
  expect_unmade(descriptor,
                "weights \"gate\" is 3x3 pixels, 2 to 4 channels; needed 1x1 pixels, 2 to 4 "
                "channels in one group.");
  descriptor->setInputGateInputWeights(source(4, 2));
  expect_unmade(descriptor,
                "weights \"gate\" is 1x1 pixels, 4 to 2 channels; needed 1x1 pixels, 2 to 4 "
                "channels in one group.");
  const auto groups = source(2, 4);
  groups->own_descriptor().setGroups(2);
  descriptor->setInputGateInputWeights(groups);
  expect_unmade(descriptor,
                "weights \"gate\" is 1x1 pixels, 2 to 4 channels; needed 1x1 pixels, 2 to 4 "
                "channels in one group.");
  descriptor->setInputGateInputWeights(nullptr);
  descriptor->setForgetGateRecurrentWeights(source(2, 4));
  expect_unmade(descriptor,
                "weights \"gate\" is 1x1 pixels, 2 to 4 channels; needed 1x1 pixels, 4 to 4 "
                "channels in one group.");
  descriptor->setForgetGateRecurrentWeights(nullptr);
  descriptor->setOutputGateMemoryWeights(source(1, 4));
  expect_unmade(descriptor,
                "weights \"gate\" is 1x1 pixels, 1 to 4 channels; needed 1x1 pixels, 4 to 4 "
                "channels in one group.");
  descriptor->setMemoryWeightsAreDiagonal(true);
  const auto full = source(4, 4);
  descriptor->setOutputGateMemoryWeights(full);
  expect_unmade(descriptor,
                "weights \"gate\" is 1x1 pixels, 4 to 4 channels; needed 4 weights, for a "
                "diagonal.");
  EXPECT_EQ(full->loads, full->purges);
  const auto empty = source(2, 4);
  empty->answers = false;
  descriptor->setOutputGateMemoryWeights(nullptr);
  descriptor->setInputGateInputWeights(empty);
  expect_refusal([&] { const RNNMatrixInferenceLayer layer(tested(), descriptor); },
                 "RNNMatrixInferenceLayer \"gate\": weights is a data source whose load() answered "
                 "false; needed weights. Check the file or memory behind the data source.");
  EXPECT_EQ(empty->purges, 0);
}

TEST(RecurrentMessages, stacks_quick) {
  const auto layer_of = [](std::size_t inputs, std::size_t outputs, bool back = false) {
    const std::shared_ptr<RNNDescriptor> descriptor =
        RNNSingleGateDescriptor::createRNNSingleGateDescriptor(inputs, outputs);
    if (back) descriptor->setLayerSequenceDirection(RNNSequenceDirection::Backward);
    return descriptor;
  };
  using List = std::vector<std::shared_ptr<RNNDescriptor>>;
  expect_refusal(
      [&] {
        const RNNMatrixInferenceLayer layer(tested(), List{layer_of(2, 3), layer_of(4, 3)});
      },
      infer +
          "rnnDescriptors is layer 1 of 4 input channels; needed 3, the output channels of the "
          "layer before.");
  expect_refusal(
      [&] {
        const RNNMatrixInferenceLayer layer(tested(), List{layer_of(2, 3), nullptr});
      },
      infer + "rnnDescriptor is null; needed a descriptor.");

  const CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  const std::vector<Matrix> x = room_for({Rows(1)}, 2), y = room_for({Rows(1)}, 6),
                            z = room_for({Rows(1)}, 6);
  const auto both = [&](const List& list, RNNBidirectionalCombineMode mode,
                        const std::string& text) {
    RNNMatrixInferenceLayer layer(tested(), list);
    layer.setBidirectionalCombineMode(mode);
    expect_refusal([&] { layer.encodeBidirectionalSequence(buffer, x, y, z); }, infer + text);
  };
  using enum RNNBidirectionalCombineMode;
  both({layer_of(2, 3)}, None,
       "rnnDescriptors is all Forward; needed layers of both directions. Set "
       "layerSequenceDirection of the descriptors.");
  both({layer_of(2, 3, true)}, None,
       "rnnDescriptors is all Backward; needed layers of both directions. Set "
       "layerSequenceDirection of the descriptors.");
  both({layer_of(2, 3), layer_of(2, 3, true), layer_of(4, 3)}, None,
       "rnnDescriptors is a layer of 4 input channels; needed 3, the output channels of the layer "
       "of its direction before.");
  both({layer_of(2, 3), layer_of(4, 3, true)}, None,
       "rnnDescriptors is 2 and 4 input channels; needed the same number for both directions.");
  both({layer_of(2, 3), layer_of(2, 4, true)}, Add,
       "rnnDescriptors is 3 and 4 output channels to add; needed the same number for both "
       "directions.");
  const RNNMatrixInferenceLayer two(tested(), List{layer_of(2, 3), layer_of(2, 3, true)});
  expect_refusal([&] { two.encodeSequence(buffer, x, y, nullptr, nullptr); },
                 infer +
                     "rnnDescriptors is layer 1 of 2 input channels; needed 3, the output "
                     "channels of the layer before.");
  // Lists of a bidirectional encode.
  const auto encode = [&](const std::vector<Matrix>& from, const std::vector<Matrix>& ahead,
                          const std::vector<Matrix>& back, const std::string& text,
                          RNNBidirectionalCombineMode mode = None) {
    RNNMatrixInferenceLayer layer = two.copy();
    layer.setBidirectionalCombineMode(mode);
    expect_refusal([&] { layer.encodeBidirectionalSequence(buffer, from, ahead, back); },
                   infer + text);
  };
  const std::string elsewhere =
      " is; needed elsewhere. Write into another matrix, or into columns that are not read.";
  encode({}, y, z, "sourceSequence is empty; needed a matrix for each step.");
  encode(x, {}, z, "destinationForwardMatrices is empty; needed a matrix for each step.");
  encode(x, y, {}, "destinationBackwardMatrices is empty; needed a matrix for each step.");
  encode(x, y, {z[0], z[0]},
         "destinationBackwardMatrices is 2 matrices; needed 1, as many as sourceSequence.");
  encode(x, y, y,
         "destinationBackwardMatrices[0] is where destinationForwardMatrices[0]" + elsewhere);
  encode(y, y, z, "destinationForwardMatrices[0] is where sourceSequence[0]" + elsewhere);
  encode(z, y, z, "destinationBackwardMatrices[0] is where sourceSequence[0]" + elsewhere);
  encode(x, room_for({Rows(1)}, 5), {},
         "destinationForwardMatrices[0] is a matrix of 1x5 Float32; needed 6 columns or more.",
         Concatenate);
}

TEST(RecurrentMessages, sequences_quick) {
  const RecurrentCell cell = random_cell(single, 2, 3);
  Trained trained(cell);
  trained.layer.setLabel("rnn");
  RNNMatrixInferenceLayer inference(tested(), descriptor_of(cell));
  inference.setLabel("rnn");
  const CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  const std::vector<Rows> steps{Rows(2), Rows(2)};
  const auto x = room_for(steps, 2), y = room_for(steps, 3);
  using List = std::vector<Matrix>;
  using Offsets = std::vector<std::size_t>;
  const auto both = [&](const List& from, const Offsets& from_offsets, const List& to,
                        const Offsets& to_offsets, const RNNRecurrentMatrixStatePtr& begin,
                        const std::string& text) {
    TrainingStates training;
    RecurrentStates states;
    expect_refusal(
        [&] {
          inference.encodeSequence(buffer, from, from_offsets, to, to_offsets, begin, &states);
        },
        "RNNMatrixInferenceLayer \"rnn\": " + text);
    expect_refusal(
        [&] {
          trained.layer.encodeForwardSequence(buffer, from, from_offsets, to, to_offsets, &training,
                                              begin, &states, trained.weights);
        },
        "RNNMatrixTrainingLayer \"rnn\": " + text);
    EXPECT_TRUE(training.empty());
    EXPECT_TRUE(states.empty());
  };
  both({}, {}, y, {}, nullptr, "sourceMatrices is empty; needed a matrix for each step.");
  both(x, {}, {}, {}, nullptr, "destinationMatrices is empty; needed a matrix for each step.");
  both(x, {0}, y, {}, nullptr,
       "sourceOffsets is 1 offsets; needed 2, one for each matrix, or none.");
  both(x, {}, y, {0, 0, 0}, nullptr,
       "destinationOffsets is 3 offsets; needed 2, one for each matrix, or none.");
  both({x[0], Matrix()}, {}, y, {}, nullptr,
       "sourceMatrices[1] is nil; needed a vector or matrix of the command buffer's device.");
  both({x[0], Matrix(Device::cpu(1), plain(2, 2))}, {}, y, {}, nullptr,
       "sourceMatrices[1] is on another device; needed the device of the command buffer.");
  both({x[0], Matrix(tested(), plain(2, 2, DataType::Int32))}, {}, y, {}, nullptr,
       "sourceMatrices[1] is a matrix of 2x2 Int32; needed elements of Float32 or Float16.");
  both(x, {}, {y[0], x[1]}, {}, nullptr,
       "destinationMatrices[1] is a matrix of 2x2 Float32; needed 3 columns or more.");
  both(x, {0, 2}, y, {}, nullptr,
       "sourceOffsets is 2; needed multiples of 4, the bytes of one element.");
  both(x, {0, 4}, y, {}, nullptr,
       "sourceMatrices[1] is a matrix of 2x2 Float32 at byte 4; needed its rows within the 16 "
       "bytes of its buffer.");
  both(x, {0, ~std::size_t{3}}, y, {}, nullptr,
       "sourceMatrices[1] is a matrix of 2x2 Float32 at byte 18446744073709551612; needed its rows "
       "within the 16 bytes of its buffer.");
  const Matrix row(tested(), plain(1, 3));
  both({row, x[1]}, {}, y, {}, nullptr,
       "sourceMatrices[1] is a matrix of 2x2 Float32; needed 1 rows or fewer, as in the step "
       "before. Sort the sequences by length, the longest first.");
  both(x, {}, {y[0]}, {}, nullptr,
       "destinationMatrices is 1 matrices; needed 2, as many as sourceMatrices.");
  both(x, {}, {y[0], row}, {}, nullptr,
       "destinationMatrices[1] is a matrix of 1x3 Float32; needed 2 rows or more, those of "
       "sourceMatrices.");
  both({x[0], y[1]}, {}, y, {}, nullptr,
       "destinationMatrices[1] is where sourceMatrices[1] is; needed elsewhere. Write into another "
       "matrix, or into columns that are not read.");
  both(x, {}, y, {}, state_with(4, false, Rows(2, Row(4))),
       "recurrentInputState is of other layers; needed a state of this kernel, or of one with the "
       "same layers.");
  both(x, {}, y, {}, state_with(3, true, Rows(2, Row(3)), Rows(2, Row(3))),
       "recurrentInputState is of other layers; needed a state of this kernel, or of one with the "
       "same layers.");
  both(x, {}, y, {}, state_with(3, false, Rows(1, Row(3))),
       "recurrentInputState is 1 rows; needed 2 or more, those of the first matrix.");
  const auto elsewhere =
      std::make_shared<RNNRecurrentMatrixState>(detail::StateOrigin::permanent(Device::cpu(1)), 2,
                                                std::vector<RNNRecurrentState::Layer>{{3, false}});
  expect_refusal([&] { inference.encodeSequence(buffer, x, y, elsewhere, nullptr); },
                 "RNNRecurrentMatrixState: the state is on another device; needed the device of "
                 "the command buffer.");
}

TEST(RecurrentMessages, weights_quick) {
  const Trained trained(random_cell(single, 2, 3));
  const RNNMatrixTrainingLayer& layer = trained.layer;
  const CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  std::vector<Matrix> list;
  const std::string no_list = train + "matricesOut is null; needed a list to append matrices to.";
  const std::string no_type = train + "dataType is 536870944; needed Float32 or Float16.";
  expect_refusal([&] { layer.createWeightMatrices(nullptr); }, no_list);
  expect_refusal([&] { layer.createWeightGradientMatrices(nullptr, DataType::Float32); }, no_list);
  expect_refusal(
      [&] { layer.createTemporaryWeightGradientMatrices(nullptr, DataType::Float32, buffer); },
      no_list);
  expect_refusal([&] { layer.createWeightGradientMatrices(&list, DataType::Int32); }, no_type);
  expect_refusal(
      [&] { layer.createTemporaryWeightGradientMatrices(&list, DataType::Int32, buffer); },
      no_type);
  EXPECT_TRUE(list.empty());

  const Matrix matrix(tested(), plain(3, 2));
  const auto copy = [&](std::span<const Matrix> weights, RNNMatrixId id, const Matrix& other,
                        const Origin& offset, const std::string& text) {
    for (const bool out : {false, true})
      expect_refusal([&] { layer.encodeCopyWeights(buffer, weights, id, other, out, offset); },
                     train + text);
  };
  const std::string ids =
      "; needed one of SingleGateInputWeights, SingleGateRecurrentWeights, SingleGateBiasTerms.";
  copy(trained.weights, LSTMInputGateBiasTerms, matrix, {},
       "matrixId is 6 (LSTMInputGateBiasTerms)" + ids);
  copy(trained.weights, RNNMatrixId::Count, matrix, {}, "matrixId is 29 (no RNNMatrixId)" + ids);
  copy(trained.weights, SingleGateInputWeights, Matrix(), {},
       "matrix is nil; needed a vector or matrix of the command buffer's device.");
  copy(trained.weights, SingleGateInputWeights, matrix, {0, 0, 1},
       "matrixOffset is one with z = 1; needed z = 0.");
  copy(trained.weights, SingleGateInputWeights, matrix, {3, 0, 0},
       "matrixOffset is (3, 0); needed a place in matrix, a matrix of 3x2 Float32.");
  copy(trained.weights, SingleGateInputWeights, matrix, {1, 0, 0},
       "matrix is a matrix of 3x2 Float32; needed 3x2 from (1, 0) for SingleGateInputWeights.");
  copy(trained.weights, SingleGateRecurrentWeights, matrix, {},
       "matrix is a matrix of 3x2 Float32; needed 3x3 for SingleGateRecurrentWeights.");
  const std::string remedy = " Give the list that this layer filled, in its order.";
  copy(std::span(trained.weights).first(2), SingleGateInputWeights, matrix, {},
       "weights is 2 matrices; needed 3, one for each matrix of the layer." + remedy);
  const std::vector<Matrix> swapped{trained.weights[1], trained.weights[0], trained.weights[2]};
  copy(swapped, SingleGateInputWeights, matrix, {},
       "weights[0] is a matrix of 3x3 Float32; needed 3x2 elements of Float32 or Float16 for "
       "SingleGateInputWeights." +
           remedy);
  const std::vector<Matrix> with_nil{trained.weights[0], Matrix(), trained.weights[2]};
  copy(with_nil, SingleGateInputWeights, matrix, {},
       "weights[1] is nil; needed a vector or matrix of the command buffer's device.");
}

TEST(RecurrentMessages, training_quick) {
  const Trained trained(random_cell(single, 2, 3));
  const RNNMatrixTrainingLayer& layer = trained.layer;
  const auto steps = random_steps({2, 2}, 2, 20), slopes = random_steps({2, 2}, 3, 40);
  const Passes passes(trained, steps, slopes);
  const CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  const std::string remedy = " Give the list that this layer filled, in its order.";
  const auto halves_of = trained.gradients(DataType::Float16);
  expect_refusal(
      [&] { layer.encodeForwardSequence(buffer, passes.x, passes.y, nullptr, trained.weights); },
      train + "trainingStates is null; needed a list to append the states to.");
  TrainingStates none;
  expect_refusal(
      [&] { layer.encodeForwardSequence(buffer, passes.x, passes.y, &none, {}); },
      train + "weights is 0 matrices; needed 3, one for each matrix of the layer." + remedy);
  expect_refusal([&] { layer.encodeForwardSequence(buffer, passes.x, passes.y, &none, halves_of); },
                 train +
                     "weights[0] is a matrix of 3x2 Float16; needed 3x2 elements of Float32 for "
                     "SingleGateInputWeights." +
                     remedy);
  EXPECT_TRUE(none.empty());

  struct Call {
    std::vector<Matrix> x, g, dx, dw, weights;
    std::vector<std::size_t> x_offsets{}, g_offsets{}, dx_offsets{};
    TrainingStates training;
    RNNRecurrentMatrixStatePtr after{};
  };
  const Call good{.x = passes.x,
                  .g = passes.g,
                  .dx = passes.dx,
                  .dw = passes.dw,
                  .weights = trained.weights,
                  .training = passes.training};
  const auto refused = [&](auto change, const std::string& text) {
    Call call = good;
    change(call);
    RecurrentStates before;
    expect_refusal(
        [&] {
          layer.encodeGradientSequence(buffer, call.x, call.x_offsets, call.g, call.g_offsets,
                                       call.dx, call.dx_offsets, call.dw, call.training, call.after,
                                       &before, call.weights);
        },
        train + text);
    EXPECT_TRUE(before.empty());
  };
  const std::string states = " Give the states that the forward encode of these sources appended.";
  const std::string elsewhere =
      " is; needed elsewhere. Write into another matrix, or into columns that are not read.";
  refused([](Call& call) { call.x.clear(); },
          "forwardSources is empty; needed a matrix for each step.");
  refused([](Call& call) { call.x_offsets = {0}; },
          "forwardSourceOffsets is 1 offsets; needed 2, one for each matrix, or none.");
  refused([](Call& call) { call.g_offsets = {0}; },
          "sourceGradientOffsets is 1 offsets; needed 2, one for each matrix, or none.");
  refused([](Call& call) { call.dx_offsets = {0}; },
          "destinationOffsets is 1 offsets; needed 2, one for each matrix, or none.");
  refused([](Call& call) { call.g.pop_back(); },
          "sourceGradients is 1 matrices; needed 2, as many as forwardSources.");
  refused([](Call& call) { call.g[1] = call.x[1]; },
          "sourceGradients[1] is a matrix of 2x2 Float32; needed 3 columns or more.");
  refused([](Call& call) { call.dx.pop_back(); },
          "destinationGradients is 1 matrices; needed 2, as many as forwardSources.");
  refused([](Call& call) { call.dx[0] = call.x[1]; },
          "destinationGradients[0] is where forwardSources[1]" + elsewhere);
  refused([](Call& call) { call.dx[1] = call.g[0]; },
          "destinationGradients[1] is where sourceGradients[0]" + elsewhere);
  refused([](Call& call) { call.weights.pop_back(); },
          "weights is 2 matrices; needed 3, one for each matrix of the layer." + remedy);
  refused([&](Call& call) { call.weights = halves_of; },
          "weights[0] is a matrix of 3x2 Float16; needed 3x2 elements of Float32 for "
          "SingleGateInputWeights." +
              remedy);
  refused([](Call& call) { call.dw.pop_back(); },
          "weightGradients is 2 matrices; needed 3, one for each matrix of the layer." + remedy);
  refused([](Call& call) { call.dw[2] = call.dw[1]; },
          "weightGradients[2] is a matrix of 3x3 Float32; needed 1x3 elements of Float32 or "
          "Float16 for SingleGateBiasTerms." +
              remedy);
  refused([](Call& call) { call.training.pop_back(); },
          "trainingStates is 1 states; needed 2, one for each of forwardSources.");
  refused([](Call& call) { call.training[1] = nullptr; },
          "trainingStates[1] is null; needed a state." + states);
  const Passes narrow(trained, random_steps({1, 1}, 2, 20), random_steps({1, 1}, 3, 40));
  refused([&](Call& call) { call.training[1] = narrow.training[1]; },
          "trainingStates[1] is of 1 rows; needed 2, as in the first." + states);
  refused([&](Call& call) { call.training = narrow.training; },
          "trainingStates[0] is of 1 rows; needed 2 or more, those of its source." + states);
  for (const auto kind : {gru, lstm}) {
    const Trained other(random_cell(kind, 2, 3));
    const Passes of_other(other, steps, slopes);
    refused([&](Call& call) { call.training[1] = of_other.training[1]; },
            "trainingStates[1] is of another layer; needed a state of this one." + states);
  }
  refused([](Call& call) { call.after = state_with(4, false, Rows(2, Row(4))); },
          "recurrentInputState is of other layers; needed a state of this kernel, or of one with "
          "the same layers.");
  refused([](Call& call) { call.after = state_with(3, false, Rows(1, Row(3))); },
          "recurrentInputState is 1 rows; needed 2 or more, those of the first matrix.");
  refused([](Call& call) { call.after = state_with(3, false, Rows(3, Row(3))); },
          "recurrentInputState is 3 rows; needed 2, those of the training states.");
}

}  // namespace
}  // namespace cermet::test
