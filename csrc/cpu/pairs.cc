#include "pairs.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

namespace dqt {
namespace {

constexpr int COLUMNS = LANES, MOST = 128;  // of |w1 + w2|
constexpr double MOST_EXCESS = 0.4;         // of the steps: with more, 16-bit products are as fast

constexpr int64_t STEP_BYTES = LANES * 4;   // of a vector
constexpr int64_t LEAST_PIXELS = 24;        // to make pairs for

int windows_of(int steps) { return (steps + WINDOW_STEPS - 1) / WINDOW_STEPS; }
int steps_of(const PackedLayer& layer) { return layer.kernel_height * layer.kernel_width * layer.depth / 4; }

using Set = uint16_t;                       // of the channels of a window
struct Pair {
    int a, b;
};

// One window's weights of 16 columns, in 16-bit lanes of a few 64-bit numbers: four columns are tested at once.
class Weights {
  public:
    Weights(const int8_t* panel, int vectors, int first, int steps) {
        for (int s = first; s < std::min(first + WINDOW_STEPS, steps); ++s) {
            const int8_t* from = panel + int64_t{s} * vectors * STEP_BYTES;
            for (int j = 0; j < COLUMNS; ++j)
                for (int i = 0; i < 4; ++i) of_[4 * (s - first) + i][j] = from[4 * j + i];
        }
        for (int i = 0; i < WINDOW; ++i)
            for (int j = 0; j < COLUMNS; ++j) lanes_[i][j / 4] |= static_cast<uint64_t>(of_[i][j] + HALF) << 16 * (j % 4);
    }
    int of(int channel, int column) const { return of_[channel][column]; }
    // Whether two channels make a pair that fits in every column: -128 <= w1 + w2 < 128, so that the lanes' sums lie in
    // [256, 512). (A sum of 128 would fit, too.)
    bool fit(int a, int b) const {
        uint64_t wrong = 0;
        for (int k = 0; k < COLUMNS / 4; ++k) wrong |= (lanes_[a][k] + lanes_[b][k]) ^ (LANE * 0x100);
        return (wrong & LANE * 0x300) == 0;
    }

  private:
    static constexpr int HALF = 192;                            // what a lane holds beside its weight
    static constexpr uint64_t LANE = 0x0001'0001'0001'0001;

    int8_t of_[WINDOW][COLUMNS] = {};
    uint64_t lanes_[WINDOW][COLUMNS / 4] = {};
};

// A matching of the first channels of a window, an even number: those with fewest partners choose first. What remains is
// paired anyhow, last. Channels behind them, which have no weights, keep their places.
class Matching {
  public:
    Matching(const Weights& weights, int channels) : channels_(channels) {
        if (natural(weights)) return;
        find_partners(weights);
        left_ = static_cast<Set>((1u << channels_) - 1);
        Set alone = 0;
        while (left_) {
            const int a = taken(left_);
            const Set some = partners_[a] & left_;
            if (some)
                pairs_[count_++] = {a, taken(some)};
            else
                alone = static_cast<Set>(alone | 1u << a);
        }
        fitting_ = count_;
        while (alone) {
            const int a = std::countr_zero(alone), b = std::countr_zero(static_cast<Set>(alone & (alone - 1)));
            alone = static_cast<Set>(alone & ~(1u << a | 1u << b));
            if (!exchanged(a, b)) pairs_[count_++] = {a, b};
        }
        // Pairs that an exchange has made may stand behind those that do not fit.
        const auto real = std::span(pairs_).first(channels_ / 2);
        const auto bad = std::ranges::partition(real, [&](const Pair& p) { return know(p.a, p.b); });
        fitting_ = channels_ / 2 - static_cast<int>(std::ranges::size(bad));
    }
    const std::array<Pair, WINDOW / 2>& pairs() const { return pairs_; }
    int fitting() const { return fitting_; }  // so many pairs need no excess, those that stand first

  private:
    bool natural(const Weights& weights) {
        for (int k = 0; k < WINDOW / 2; ++k) pairs_[k] = {2 * k, 2 * k + 1};
        fitting_ = channels_ / 2;
        return std::ranges::all_of(pairs_, [&](const Pair& p) { return weights.fit(p.a, p.b); });
    }
    void find_partners(const Weights& weights) {
        for (int a = 0; a < channels_; ++a)
            for (int b = a + 1; b < channels_; ++b) {
                const unsigned fit = weights.fit(a, b);
                partners_[a] = static_cast<Set>(partners_[a] | fit << b);
                partners_[b] = static_cast<Set>(partners_[b] | fit << a);
                choices_[a] += static_cast<int>(fit);
                choices_[b] += static_cast<int>(fit);
            }
    }
    bool know(int a, int b) const { return (partners_[a] >> b & 1) != 0; }

    // Takes the member of `some` with the fewest partners that are left.
    int taken(Set some) {
        int best = 0, least = WINDOW;
        for (unsigned set = some; set; set &= set - 1) {
            const int i = std::countr_zero(set);
            if (choices_[i] < least) least = choices_[i], best = i;
        }
        left_ = static_cast<Set>(left_ & ~(1u << best));
        for (unsigned set = partners_[best]; set; set &= set - 1) --choices_[std::countr_zero(set)];
        return best;
    }
    // Exchanges partners with a pair that fits, so that both pairs do.
    bool exchanged(int a, int b) {
        for (int k = 0; k < fitting_; ++k) {
            Pair& p = pairs_[k];
            if (!know(a, p.a) || !know(b, p.b)) std::swap(p.a, p.b);
            if (!know(a, p.a) || !know(b, p.b)) continue;
            pairs_[count_++] = {b, p.b};
            p.b = a;
            return true;
        }
        return false;
    }

    const int channels_;
    Set partners_[WINDOW] = {}, left_ = 0;
    int choices_[WINDOW] = {};
    std::array<Pair, WINDOW / 2> pairs_{};
    int count_ = 0, fitting_ = 0;
};

// What w1 and w2 have too much, of the larger one first.
std::pair<int8_t, int8_t> excess(int w1, int w2) {
    const int sum = w1 + w2, over = sum > MOST ? sum - MOST : sum < -MOST ? sum + MOST : 0;
    return {static_cast<int8_t>(over / 2), static_cast<int8_t>(over - over / 2)};
}

// The excess of the pairs of one step.
void append_excess(const Weights& weights, const Pair* pairs, int step, Pairs& to) {
    to.steps.push_back(step);
    for (int j = 0; j < COLUMNS; ++j)
        for (int k = 0; k < 2; ++k) {
            const auto [first, second] = excess(weights.of(pairs[k].a, j), weights.of(pairs[k].b, j));
            to.excess.push_back(first);
            to.excess.push_back(second);
        }
}

}  // namespace

void choose_pairs(const int8_t* panel, int vectors, int steps, Pairs& pairs) {
    if (pairs.first.empty()) pairs.first.push_back(0);
    for (int v = 0; v < vectors; ++v) {
        for (int s = 0; s < steps; s += WINDOW_STEPS) {
            const Weights weights(panel + v * LANES * 4, vectors, s, steps);
            const int real = std::min(WINDOW_STEPS, steps - s);
            const Matching matching(weights, 4 * real);
            uint8_t places[WINDOW];
            for (int k = 0; k < WINDOW / 2; ++k) {
                places[2 * k] = static_cast<uint8_t>(matching.pairs()[k].a);
                places[2 * k + 1] = static_cast<uint8_t>(matching.pairs()[k].b);
            }
            for (int k = 0; k < WINDOW / 2; ++k)
                pairs.places.push_back(static_cast<uint8_t>(places[k] | places[k + WINDOW / 2] << 4));
            for (int k = matching.fitting() / 2; k < real; ++k)
                append_excess(weights, &matching.pairs()[2 * k], s + k, pairs);
        }
        pairs.first.push_back(static_cast<int32_t>(pairs.steps.size()));
    }
}

void choose_pairs(PackedLayer& layer) {
    if (layer.weight.size() == 0 || layer.master < 8 || layer.depthwise || layer.slice) return;
    const int steps = steps_of(layer);
    const auto* weights = reinterpret_cast<const int8_t*>(layer.weight.data());
    Pairs pairs;
    for (const Panel& panel : layer.panels) choose_pairs(weights + panel.weight, panel.vectors, steps, pairs);
    const double most = MOST_EXCESS * static_cast<double>(layer.lanes / LANES) * steps;
    if (static_cast<double>(pairs.steps.size()) <= most) layer.pairs = std::move(pairs);
}

PairedPanel paired(const Kernels& kernels, const Pairs& pairs, const int8_t* panel, int first, int vectors, int steps,
                   uint8_t* scratch) {
    const int windows = windows_of(steps);
    auto* weights = reinterpret_cast<int8_t*>(scratch);
    uint8_t* places = scratch + int64_t{vectors} * windows * WINDOW_STEPS * STEP_BYTES;
    const PairedPanel result{windows, weights, places, pairs.first.data() + first, pairs.steps.data(), pairs.excess.data()};
    const uint8_t* nibbles = pairs.places.data() + int64_t{first} * windows * (WINDOW / 2);
    kernels.pair(panel, vectors, steps, nibbles, result, weights, places);
    return result;
}

int64_t pair_scratch(int vectors, int steps) {
    const int64_t window = WINDOW_STEPS * STEP_BYTES + WINDOW;
    return round_up(vectors * windows_of(steps) * window + 3 * WINDOW, LINE);  // kernels read places of four windows at once
}

std::optional<PairedPanel> paired(const Context& run, const LayerRun& layer, const Panel& panel, int64_t pixels, int thread) {
    const PackedLayer& packed = layer.packed;
    const bool whole = layer.product_bits == 16 && layer.weights == reinterpret_cast<const int8_t*>(packed.weight.data());
    if (packed.pairs.first.empty() || !whole || pixels < LEAST_PIXELS) return {};
    const int steps = steps_of(packed), first = static_cast<int>(panel.at / LANES);
    uint8_t* scratch = run.arena.scratch.data() + thread * pair_scratch(MAX_VECTORS, steps);
    return paired(run.kernels, packed.pairs, layer.weights + panel.weight, first, panel.vectors, steps, scratch);
}

int64_t pair_scratch(const std::vector<PackedLayer>& layers, int threads) {
    int64_t most = 0;
    for (const PackedLayer& layer : layers)
        if (!layer.pairs.first.empty()) most = std::max(most, pair_scratch(MAX_VECTORS, steps_of(layer)));
    return threads * most;
}

}  // namespace dqt
