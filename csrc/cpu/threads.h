// A few persistent threads with a static split: thread t of T always does part t, so results cannot depend on timing.
#pragma once

#include <cstdint>
#include <memory>

namespace dqt {

class Crew;

// The threads of one run at a time. They start when a run first needs them, and in a forked child anew: a child has
// only the thread that forked.
class Threads {
  public:
    explicit Threads(int most);  // the caller included
    ~Threads();
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

    // Has the next calls of each() take `count` threads, at most those of the constructor.
    void use(int count);
    int count() const { return count_; }
    // Runs part(t) for t in [0, count) and returns when all are done; throws what one of them threw. One caller at a time.
    template <class F>
    void each(const F& part) {
        if (count_ == 1) return part(0);
        launch([](const void* f, int t) { (*static_cast<const F*>(f))(t); }, &part);
    }

  private:
    using Call = void (*)(const void*, int);
    void launch(Call call, const void* argument);
    void hire();

    int most_, count_ = 1;
    std::unique_ptr<Crew> crew_;
};

// Holds a lock that a fork waits for, so that the child finds everything that it guards complete. Hold it shortly, and
// allocate nothing meanwhile: the allocator's own lock may be taken first by a fork.
class ForkLock {
  public:
    ForkLock();
    ~ForkLock();
    ForkLock(const ForkLock&) = delete;
    ForkLock& operator=(const ForkLock&) = delete;
};

// The half-open range of part t of T of `items`: sizes differ by at most one.
struct Range {
    int64_t first, last;
};
inline Range split(int64_t items, int t, int parts) { return {items * t / parts, items * (t + 1) / parts}; }

// Part t of a grid of panels and rows, cut along one of the two.
struct Part {
    Range panels, rows;
    Part(bool by_panel, int64_t all_panels, int64_t all_rows, int t, int parts)
        : panels(by_panel ? split(all_panels, t, parts) : Range{0, all_panels}),
          rows(by_panel ? Range{0, all_rows} : split(all_rows, t, parts)) {}
};

}  // namespace dqt
