#include "view.h"

#include <cstring>
#include <type_traits>

#include "walk.h"

namespace dqt {

void Loops::add(int64_t length, int64_t from, int64_t to) {
    if (length == 1) return;
    int at = count_++;
    for (; at > 0 && axes_[at - 1].to < to; --at) axes_[at] = axes_[at - 1];
    axes_[at] = {length, from, to};
}

void Loops::merge() {
    int kept = 0;
    for (int k = 1; k < count_; ++k) {
        Axis& outer = axes_[kept];
        const Axis& inner = axes_[k];
        if (outer.from == inner.from * inner.length && outer.to == inner.to * inner.length) {
            outer = {outer.length * inner.length, inner.from, inner.to};
        } else {
            axes_[++kept] = inner;
        }
    }
    if (count_) count_ = kept + 1;
    if (count_ && axes_[kept].from == run_ && axes_[kept].to == run_) run_ *= axes_[--count_].length;
}

// Calls f(from, to) for every run: its offsets.
template <class F>
void Loops::each(const F& f) const {
    const Axis one{1, 0, 0}, &inner = count_ ? axes_[count_ - 1] : one;
    int64_t index[MOST] = {}, from = 0, to = 0;
    for (int k = 0; k >= 0;) {
        for (int64_t i = 0; i < inner.length; ++i) f(from + i * inner.from, to + i * inner.to);
        for (k = count_ - 2; k >= 0; --k) {
            const Axis& axis = axes_[k];
            from += axis.from, to += axis.to;
            if (++index[k] < axis.length) break;
            from -= axis.from * axis.length, to -= axis.to * axis.length;
            index[k] = 0;
        }
    }
}

void Loops::copy(const uint8_t* from, uint8_t* to) {
    merge();
    const auto runs = [&](auto bytes) {
        each([&](int64_t f, int64_t t) { std::memcpy(to + t, from + f, bytes); });
    };
    // Where elements go one by one their size is a constant: no calls.
    if (run_ == 1) return runs(std::integral_constant<size_t, 1>());
    if (run_ == 4) return runs(std::integral_constant<size_t, 4>());
    runs(static_cast<size_t>(run_));
}

void Loops::fill(uint8_t* to, int32_t code) {
    merge();
    each([&](int64_t, int64_t t) { std::memset(to + t, code, static_cast<size_t>(run_)); });
}

void copy(const View& from, const View& to) {
    Loops loops(to.element());
    for (size_t d = 0; d < to.shape.size(); ++d) loops.add(to.shape[d], from.strides[d], to.strides[d]);
    loops.copy(from.data, to.data);
}

void fill(const View& to, int32_t code) {
    Loops loops(to.element());
    for (size_t d = 0; d < to.shape.size(); ++d) loops.add(to.shape[d], to.strides[d], to.strides[d]);
    loops.fill(to.data, code);
}

namespace {

template <class From, class To>
void convert(const From* from, To* to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(from[i]);
}

}  // namespace

template <class T>
void read(const T* from, const View& to) {
    if (to.is_row_major()) {
        to.coded ? convert(from, to.data, to.size()) : convert(from, reinterpret_cast<int32_t*>(to.data), to.size());
        return;
    }
    Walk<1> walk(to.shape, {to.strides});
    do to.set(walk.at[0], *from++);
    while (walk.next());
}
template void read(const int32_t*, const View&);
template void read(const int64_t*, const View&);

void write(const View& from, int32_t* to) {
    if (from.is_row_major()) {
        from.coded ? convert(from.data, to, from.size()) : convert(reinterpret_cast<int32_t*>(from.data), to, from.size());
        return;
    }
    Walk<1> walk(from.shape, {from.strides});
    do *to++ = from.get(walk.at[0]);
    while (walk.next());
}

}  // namespace dqt
