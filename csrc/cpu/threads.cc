#include "threads.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

#include "cores.h"

namespace dqt {
namespace {

// Checks before a wait goes to sleep. The most are more than 100 microseconds, longer than the gap between two
// instructions of a run. Where a wait outlasts them, a thread that it waits for has no core, and may want this one: then
// later waits of the same run check less, and more again where that is enough.
constexpr int MOST_SPINS = 40000, LEAST_SPINS = 64;
constexpr int EVERY = 8;  // checks to a pause, which lasts longer than the news takes from core to core

inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

std::mutex fork_mutex;
std::atomic<uint64_t> generation{0};  // forks between the first process and this one
Crew* lost = nullptr;                 // those of the parent, in a child

#if !defined(_WIN32)
void before_fork() { fork_mutex.lock(); }
void in_parent() { fork_mutex.unlock(); }
void in_child() {
    generation.fetch_add(1, std::memory_order_relaxed);
    forget_shares();
    fork_mutex.unlock();
}
[[maybe_unused]] const int registered = pthread_atfork(before_fork, in_parent, in_child);
#endif

// Where one thread waits until others have changed something.
class Gate {
  public:
    // Whether `done` became true within so many checks; if not, sleeps until it is.
    template <class Done>
    bool wait(int spins, const Done& done) {
        for (int i = 0; i < spins; ++i) {
            if (done()) return true;
            if (i % EVERY == 0) pause();
        }
        std::unique_lock lock(mutex_);
        asleep_ = true;  // before the last look at what the others change, as they look at this after they changed it
        wake_.wait(lock, done);
        asleep_ = false;
        return false;
    }
    // After the change, which must be sequentially consistent, as reads by `done` must be.
    void open() {
        if (!asleep_) return;
        { const std::lock_guard lock(mutex_); }  // the waiter is between its last look and its sleep, or past both
        wake_.notify_one();
    }

  private:
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<bool> asleep_{false};
};

struct alignas(64) Worker {
    std::atomic<uint32_t> ticket{0};  // counts the calls that this worker takes part in
    Gate gate;
    std::thread thread;
};

}  // namespace

class Crew {
  public:
    using Call = void (*)(const void*, int);

    explicit Crew(int most) : workers_(std::make_unique<Worker[]>(most - 1)) {}
    ~Crew() {
        stop_ = true;
        for (int t = 1; t <= size_; ++t) start(t);
        for (int t = 1; t <= size_; ++t) worker(t).thread.join();
    }

    bool of_this_process() const { return born_ == generation.load(std::memory_order_relaxed); }

    // In a forked child: its threads and what they held are not there, and no call may touch them, not even to end them.
    static void lose(std::unique_ptr<Crew> crew) {
        crew->next_lost_ = lost;
        lost = crew.release();  // one thread at a time: ForkLock
    }

    // Before a run on `count` threads.
    void prepare(int count) {
        spins_.store(MOST_SPINS, std::memory_order_relaxed);
        for (; size_ < count - 1; ++size_)  // where the system has no more threads, it throws: those that run stay
            worker(size_ + 1).thread = std::thread([this, t = size_ + 1] { work(t); });
    }

    void launch(Call call, const void* argument, int count) {
        call_ = call;
        argument_ = argument;
        left_.store(count - 1, std::memory_order_relaxed);
        for (int t = 1; t < count; ++t) start(t);
        attempt(0);
        const bool soon = gate_.wait(spins_.load(std::memory_order_relaxed), [&] { return left_.load() == 0; });
        adapt(soon);
        if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    }

  private:
    Worker& worker(int t) { return workers_[t - 1]; }

    void start(int t) {
        worker(t).ticket.fetch_add(1);
        worker(t).gate.open();
    }

    void adapt(bool soon) {
        const int spins = spins_.load(std::memory_order_relaxed);
        const int next = soon ? std::min(MOST_SPINS, spins + spins / 4) : std::max(LEAST_SPINS, spins / 4);
        if (next != spins) spins_.store(next, std::memory_order_relaxed);
    }

    void attempt(int t) {
        try {
            call_(argument_, t);
        } catch (...) {  // nothing but a lack of memory
            const std::lock_guard lock(error_mutex_);
            error_ = std::current_exception();
        }
    }

    void work(int t) {
        Worker& mine = worker(t);
        for (uint32_t seen = 0;;) {
            mine.gate.wait(spins_.load(std::memory_order_relaxed), [&] { return mine.ticket.load() != seen; });
            ++seen;
            if (stop_) return;
            attempt(t);
            if (left_.fetch_sub(1) == 1) gate_.open();
        }
    }

    const uint64_t born_ = generation.load(std::memory_order_relaxed);
    std::unique_ptr<Worker[]> workers_;
    int size_ = 0;                   // workers that run
    alignas(64) std::atomic<int> left_{0};  // workers that have not finished the call
    Gate gate_;                      // of the caller
    std::atomic<int> spins_{MOST_SPINS};
    std::atomic<bool> stop_{false};
    Call call_ = nullptr;
    const void* argument_ = nullptr;
    std::mutex error_mutex_;
    std::exception_ptr error_;       // of a part
    Crew* next_lost_ = nullptr;
};

Threads::Threads(int most) : most_(std::max(1, most)) {}

Threads::~Threads() {
    if (crew_ && !crew_->of_this_process()) {
        const ForkLock lock;
        Crew::lose(std::move(crew_));
    }
}

void Threads::use(int count) {
    count_ = std::clamp(count, 1, most_);
    if (count_ > 1) hire();
}

void Threads::hire() {
    if (crew_ && !crew_->of_this_process()) {
        const ForkLock lock;
        Crew::lose(std::move(crew_));
    }
    if (!crew_) crew_ = std::make_unique<Crew>(most_);
    crew_->prepare(count_);
}

void Threads::launch(Call call, const void* argument) { crew_->launch(call, argument, count_); }

ForkLock::ForkLock() { fork_mutex.lock(); }
ForkLock::~ForkLock() { fork_mutex.unlock(); }

}  // namespace dqt
