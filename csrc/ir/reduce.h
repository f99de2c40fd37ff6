// Dimensions of one sample become one element each: sums, maxima. Nothing here allocates.
#pragma once

#include <algorithm>
#include <vector>

#include "view.h"
#include "walk.h"

namespace dqt {

// The dimension among those that `picks` names in which elements lie closest, or the rank if none is longer than 1.
template <class Picks>
size_t closest(const View& view, const Picks& picks) {
    size_t found = view.shape.size();
    for (size_t d = 0; d < view.shape.size(); ++d) {
        bool closer = found == view.shape.size() || view.strides[d] < view.strides[found];
        if (picks(d) && view.shape[d] > 1 && closer) found = d;
    }
    return found;
}

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
    const size_t along = closest(from, [&](size_t d) { return !reduced(d); }), inner = closest(from, reduced);
    const int64_t count = along < rank ? from.shape[along] : 1, taps = inner < rank ? from.shape[inner] : 1;
    const int64_t step = along < rank ? from.strides[along] : 0, out = along < rank ? to.strides[along] : 0;
    const int64_t tap = inner < rank ? from.strides[inner] : 0;
    Walk<2> kept(from.shape, {from.strides, to.strides}, [&](size_t d) { return d != along && !reduced(d); });
    do {
        for (int64_t first = 0; first < count; first += LANES) {
            const int64_t lanes = std::min(LANES, count - first);
            Acc acc[LANES];
            std::fill_n(acc, lanes, start);
            const uint8_t* base = from.data + kept.at[0] + first * step;
            Walk<1> others(from.shape, {from.strides}, [&](size_t d) { return d != inner && reduced(d); });
            do {
                const uint8_t* p = base + others.at[0];
                const auto read = [](const uint8_t* at) { return *reinterpret_cast<const T*>(at); };
                if (lanes == 1) {
                    Acc one = acc[0];
                    for (int64_t k = 0; k < taps; ++k) one = fold(one, read(p + k * tap));
                    acc[0] = one;
                } else if (step == static_cast<int64_t>(sizeof(T))) {  // side by side: several at once
                    for (int64_t k = 0; k < taps; ++k, p += tap)
                        for (int64_t i = 0; i < lanes; ++i) acc[i] = fold(acc[i], read(p + i * static_cast<int64_t>(sizeof(T))));
                } else {
                    for (int64_t k = 0; k < taps; ++k)
                        for (int64_t i = 0; i < lanes; ++i) acc[i] = fold(acc[i], read(p + k * tap + i * step));
                }
            } while (others.next());
            uint8_t* q = to.data + kept.at[1] + first * out;
            for (int64_t i = 0; i < lanes; ++i, q += out) store(q, acc[i]);
        }
    } while (kept.next());
}

}  // namespace dqt
