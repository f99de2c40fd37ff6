#include "pages.h"

#include <cerrno>
#include <new>
#include <system_error>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dqt::ir {
namespace {

constexpr size_t HUGE_PAGE = size_t{2} << 20;  // a fault for each costs a fifth of one for every 4 KiB
constexpr size_t SMALL = size_t{1} << 20;      // on the heap, where tools that check accesses see its ends
constexpr size_t PART = size_t{64} << 10;      // less is not worth a call of the system

uint8_t* aligned(uint8_t* p, size_t unit) {
    const auto at = reinterpret_cast<uintptr_t>(p);
    return p + (unit - at % unit) % unit;
}

[[noreturn]] void fail(int error) { throw std::system_error(error, std::generic_category()); }

}  // namespace

Pages::Pages(size_t size) : size_(size), mapped_(size < SMALL ? 0 : size + HUGE_PAGE) {
    if (!mapped_) {
        memory_ = data_ = new uint8_t[size];
        return;
    }
    void* p = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<uint8_t*>(p);
    data_ = aligned(memory_, HUGE_PAGE);
#if defined(MADV_HUGEPAGE)
    madvise(data_, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);  // a wish: it may fail
#endif
}

Pages::~Pages() {
    if (mapped_)
        munmap(memory_, mapped_);
    else
        delete[] memory_;
}

void Pages::drop(const uint8_t* first, size_t size) {
    if (!mapped_ || size < PART) return;
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    uint8_t *from = aligned(data_ + (first - data_), page), *end = data_ + (first - data_) + size;
    end -= reinterpret_cast<uintptr_t>(end) % page;
    if (from < end) madvise(from, static_cast<size_t>(end - from), MADV_DONTNEED);
}

std::shared_ptr<Pages> read_pages(int descriptor) {
    struct stat about;
    if (fstat(descriptor, &about) != 0) fail(errno);
    if (!S_ISREG(about.st_mode)) fail(ESPIPE);
    auto pages = std::make_shared<Pages>(static_cast<size_t>(about.st_size));
    for (size_t done = 0; done < pages->size();) {
        const ssize_t got = pread(descriptor, pages->data() + done, pages->size() - done, static_cast<off_t>(done));
        if (got < 0 && errno != EINTR) fail(errno);
        if (got == 0) pages->cut(done);  // it became shorter just now: whoever reads it will say so
        if (got > 0) done += static_cast<size_t>(got);
    }
    return pages;
}

std::shared_ptr<const void> part(const std::shared_ptr<Pages>& pages, const uint8_t* first, size_t size) {
    return {first, [pages, size](const void* p) { pages->drop(static_cast<const uint8_t*>(p), size); }};
}

}  // namespace dqt::ir
