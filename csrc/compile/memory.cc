#include "memory.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace dqt {

// A value goes to the lowest place that no value alive at the same time holds.
int64_t place(const std::vector<int64_t>& bytes, const std::vector<Life>& lives, std::vector<int64_t>& offset) {
    std::vector<Life> all, placed;
    std::ranges::copy_if(lives, std::back_inserter(all), [](const Life& life) { return life.value >= 0; });
    std::ranges::stable_sort(all, [&](const Life& a, const Life& b) { return bytes[a.value] > bytes[b.value]; });
    int64_t total = 0;
    for (const Life& life : all) {
        std::vector<std::pair<int64_t, int64_t>> taken;
        for (const Life& other : placed)
            if (life.first <= other.last && other.first <= life.last)
                taken.emplace_back(offset[other.value], offset[other.value] + bytes[other.value]);
        std::sort(taken.begin(), taken.end());
        int64_t at = 0;
        for (const auto& [first, last] : taken) {
            if (at + bytes[life.value] <= first) break;
            at = std::max(at, last);
        }
        offset[life.value] = at;
        total = std::max(total, at + bytes[life.value]);
        placed.push_back(life);
    }
    return total;
}

}  // namespace dqt
