// A few persistent threads with a static split: thread t of T always does part t, so results cannot depend on timing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dqt {

class Threads {
  public:
    explicit Threads(int count);
    ~Threads();
    Threads(const Threads&) = delete;
    Threads& operator=(const Threads&) = delete;

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
    void attempt(int t);
    void work(int t);
    void stop();

    int count_;
    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<uint32_t> ticket_{0}, done_{0};
    std::atomic<bool> stop_{false};
    Call call_ = nullptr;
    const void* argument_ = nullptr;
    std::exception_ptr error_;       // of a part, guarded by mutex_
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
