// Dimensions of one sample become one element each: sums, maxima. Nothing here allocates.
#pragma once

#include <algorithm>
#include <vector>

#include "view.h"
#include "walk.h"

namespace dqt {

// Reduces `from` along `axes`, ascending, into `to`, which is 1 long there: acc = start, acc = fold(acc, element) for each
// element, and store(byte of `to`, acc) at the end.
//
// Along the kept dimension in which elements lie closest, up to LANES of them are reduced at once: whichever dimensions
// are reduced, memory is read in the order in which it lies, or a few cache lines at a time.
template <class T, class Acc, class Fold, class Store>
void reduce(const View& from, const View& to, std::span<const int64_t> axes, Acc start, const Fold& fold,
            const Store& store) {
    constexpr int64_t LANES = 64;
    const size_t rank = from.shape.size();
    const auto reduced = [&](size_t d) { return std::ranges::binary_search(axes, static_cast<int64_t>(d)); };
    size_t along = rank;  // the kept dimension; none if all are reduced
    for (size_t d = 0; d < rank; ++d) {
        bool closer = along == rank || from.strides[d] < from.strides[along];
        if (!reduced(d) && from.shape[d] > 1 && closer) along = d;
    }
    const int64_t count = along < rank ? from.shape[along] : 1;
    const int64_t step = along < rank ? from.strides[along] : 0, out = along < rank ? to.strides[along] : 0;
    Walk<2> kept(from.shape, {from.strides, to.strides}, [&](size_t d) { return d != along && !reduced(d); });
    do {
        for (int64_t first = 0; first < count; first += LANES) {
            const int64_t lanes = std::min(LANES, count - first);
            Acc acc[LANES];
            std::fill_n(acc, lanes, start);
            const uint8_t* base = from.data + kept.at[0] + first * step;
            Walk<1> taps(from.shape, {from.strides}, reduced);
            do {
                const uint8_t* p = base + taps.at[0];
                for (int64_t i = 0; i < lanes; ++i, p += step) acc[i] = fold(acc[i], *reinterpret_cast<const T*>(p));
            } while (taps.next());
            uint8_t* q = to.data + kept.at[1] + first * out;
            for (int64_t i = 0; i < lanes; ++i, q += out) store(q, acc[i]);
        }
    } while (kept.next());
}

}  // namespace dqt
