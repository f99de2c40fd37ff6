#include "threads.h"

#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dqt {
namespace {

constexpr int SPINS = 40000;  // more than 100 microseconds: longer than the gap between two instructions of a run
constexpr int EVERY = 8;      // checks to a pause, which lasts longer than the news takes from core to core

inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

Threads::Threads(int count) : count_(count < 1 ? 1 : count) {
    try {
        for (int t = 1; t < count_; ++t) workers_.emplace_back([this, t] { work(t); });
    } catch (...) {  // the system has no more threads: those that run must end before they are destroyed
        stop();
        throw;
    }
}

Threads::~Threads() { stop(); }

void Threads::stop() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
        ticket_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void Threads::launch(Call call, const void* argument) {
    call_ = call;
    argument_ = argument;
    done_.store(0, std::memory_order_relaxed);
    {
        std::lock_guard lock(mutex_);
        ticket_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    attempt(0);
    for (int i = 0; done_.load(std::memory_order_acquire) != static_cast<uint32_t>(count_ - 1); ++i)
        if (i >= SPINS)
            std::this_thread::yield();
        else if (i % EVERY == 0)
            pause();
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Threads::attempt(int t) {
    try {
        call_(argument_, t);
    } catch (...) {  // nothing but a lack of memory
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
    }
}

void Threads::work(int t) {
    uint32_t seen = 0;
    while (true) {
        int spins = 0;
        while (ticket_.load(std::memory_order_acquire) == seen && spins < SPINS) {
            if (++spins % EVERY == 0) pause();
        }
        if (ticket_.load(std::memory_order_acquire) == seen) {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return ticket_.load() != seen; });
        }
        ++seen;
        if (stop_) return;
        attempt(t);
        done_.fetch_add(1, std::memory_order_release);
    }
}

}  // namespace dqt
