#include "bytes.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include <sys/mman.h>

#include "tensor.h"

namespace dqt {
namespace {

constexpr size_t SLACK = 4096 + 256;           // kernels prefetch a page ahead and read whole vectors
constexpr size_t HUGE_PAGE = size_t{2} << 20;  // weights that stream from memory come a tenth faster from huge pages

size_t with_slack(size_t size) { return static_cast<size_t>(round_up(static_cast<int64_t>(size + SLACK), LINE)); }

// A wish: it may fail.
void ask_for_huge_pages([[maybe_unused]] uint8_t* first, [[maybe_unused]] size_t size) {
#if defined(MADV_HUGEPAGE)
    madvise(first, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
}

}  // namespace

Bytes::Bytes(size_t size, bool streamed) : size_(with_slack(size)) {
    const size_t unit = streamed && size_ >= HUGE_PAGE ? HUGE_PAGE : LINE;
    void* p = nullptr;  // aligned_alloc would round the size up to whole units: resident, and nobody's
    if (posix_memalign(&p, unit, size_) != 0) throw std::bad_alloc();
    data_ = {static_cast<uint8_t*>(p), [](uint8_t* each) { std::free(each); }};
    if (unit == HUGE_PAGE) ask_for_huge_pages(data_.get(), size_);
    std::memset(data_.get(), 0, size_);
}

bool Bytes::holds(size_t size) const { return size_ >= with_slack(size); }

Slab::Slab(size_t weights) {
    if (weights < HUGE_PAGE) return;
    const size_t size = weights + weights / 4, mapped = size + HUGE_PAGE;  // pages that are never touched take no memory
    void* p = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return;
    auto* const memory = static_cast<uint8_t*>(p);
    uint8_t* const first = memory + (HUGE_PAGE - reinterpret_cast<uintptr_t>(memory) % HUGE_PAGE) % HUGE_PAGE;
    memory_ = {first, [memory, mapped](uint8_t*) { munmap(memory, mapped); }};
    size_ = size;
    ask_for_huge_pages(first, weights);
}

Bytes Slab::take(size_t size) {
    const size_t whole = with_slack(size);
    if (whole > size_ - used_) return Bytes(size, true);
    uint8_t* const first = memory_.get() + used_;
    used_ += whole;
    return {std::shared_ptr<uint8_t>(memory_, first), whole};
}

}  // namespace dqt
