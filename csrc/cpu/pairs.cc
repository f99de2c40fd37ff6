#include "pairs.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace dqt {
namespace {

constexpr int COLUMNS = LANES, MOST = 128;  // of |w1 + w2|
constexpr double MOST_EXCESS = 0.25;        // of the steps: with more, 16-bit products are as fast

constexpr int64_t STEP_BYTES = LANES * 4;   // of a vector
constexpr int64_t LEAST_PIXELS = 24;        // to make pairs for

int windows_of(int steps) { return (steps + WINDOW_STEPS - 1) / WINDOW_STEPS; }
int steps_of(const PackedLayer& layer) { return layer.kernel_height * layer.kernel_width * layer.depth / 4; }

using Set = uint16_t;                       // of the channels of a window
struct Pair {
    int a, b;
};

// One window's weights of 16 columns.
struct Weights {
    int16_t of[COLUMNS][WINDOW] = {};

    Weights(const int8_t* panel, int vectors, int first, int steps) {
        for (int s = first; s < std::min(first + WINDOW_STEPS, steps); ++s)
            for (int j = 0; j < COLUMNS; ++j)
                for (int i = 0; i < 4; ++i)
                    of[j][4 * (s - first) + i] = panel[(int64_t{s} * vectors * LANES + j) * 4 + i];
    }
    // The channels that make a pair with channel i which fits in every column.
    Set partners(int i) const {
        uint16_t over[WINDOW] = {};
        for (const auto& column : of)
            for (int j = 0; j < WINDOW; ++j) {
                const auto sum = static_cast<uint16_t>(column[i] + column[j] + MOST);
                over[j] |= static_cast<uint16_t>(sum > 2 * MOST ? sum - 2 * MOST : 0);
            }
        unsigned fit = 0;
        for (int j = 0; j < WINDOW; ++j) fit |= (over[j] == 0 && j != i ? 1u : 0u) << j;
        return static_cast<Set>(fit);
    }
};

// A matching of the channels of a window: those with fewest partners choose first. What remains is paired anyhow, last.
class Matching {
  public:
    explicit Matching(const Weights& weights) {
        for (int i = 0; i < WINDOW; ++i) partners_[i] = weights.partners(i);
        if (natural()) return;
        Set left = static_cast<Set>(~0u), alone = 0;
        while (left) {
            const int a = neediest(left, left);
            left = without(left, a);
            const Set some = partners_[a] & left;
            if (some == 0) {
                alone = static_cast<Set>(alone | 1u << a);
                continue;
            }
            const int b = neediest(some, left);
            left = without(left, b);
            pairs_[count_++] = {a, b};
        }
        fitting_ = count_;
        while (alone) {
            const int a = std::countr_zero(alone);
            alone = without(alone, a);
            const int b = std::countr_zero(alone);
            alone = without(alone, b);
            if (!exchanged(a, b)) pairs_[count_++] = {a, b};
        }
        // Pairs that an exchange has made stand behind those that do not fit: to the front with them.
        const auto bad = std::ranges::partition(pairs_, [&](const Pair& p) { return (partners_[p.a] >> p.b & 1) != 0; });
        fitting_ = WINDOW / 2 - static_cast<int>(std::ranges::size(bad));
    }
    const std::array<Pair, WINDOW / 2>& pairs() const { return pairs_; }
    int fitting() const { return fitting_; }  // so many pairs need no excess, those that stand first

  private:
    static Set without(Set set, int i) { return static_cast<Set>(set & ~(1u << i)); }

    bool natural() {
        for (int k = 0; k < WINDOW / 2; ++k) {
            pairs_[k] = {2 * k, 2 * k + 1};
            if (!(partners_[2 * k] >> (2 * k + 1) & 1)) return false;
        }
        count_ = fitting_ = WINDOW / 2;
        return true;
    }
    // The member of `set` with the fewest partners in `left`.
    int neediest(Set set, Set left) const {
        int best = 0, least = WINDOW;
        for (; set; set = without(set, std::countr_zero(set))) {
            const int i = std::countr_zero(set), count = std::popcount(static_cast<Set>(partners_[i] & left));
            if (count < least) least = count, best = i;
        }
        return best;
    }
    // Exchanges partners with a pair that fits, so that both pairs do.
    bool exchanged(int a, int b) {
        for (int k = 0; k < fitting_; ++k) {
            Pair& p = pairs_[k];
            if (!(partners_[a] >> p.a & partners_[b] >> p.b & 1)) std::swap(p.a, p.b);
            if (!(partners_[a] >> p.a & partners_[b] >> p.b & 1)) continue;
            pairs_[count_++] = {b, p.b};
            p.b = a;
            return true;
        }
        return false;
    }

    Set partners_[WINDOW];
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
    for (const auto& column : weights.of)
        for (int k = 0; k < 2; ++k) {
            const auto [first, second] = excess(column[pairs[k].a], column[pairs[k].b]);
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
            const Matching matching(weights);
            uint8_t places[WINDOW];
            for (int k = 0; k < WINDOW / 2; ++k) {
                places[2 * k] = static_cast<uint8_t>(matching.pairs()[k].a);
                places[2 * k + 1] = static_cast<uint8_t>(matching.pairs()[k].b);
            }
            for (int k = 0; k < WINDOW / 2; ++k)
                pairs.places.push_back(static_cast<uint8_t>(places[k] | places[k + WINDOW / 2] << 4));
            for (int k = matching.fitting() / 2; k < WINDOW_STEPS; ++k)
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
    return round_up(vectors * windows_of(steps) * window + WINDOW, LINE);  // kernels read places of two windows at once
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
