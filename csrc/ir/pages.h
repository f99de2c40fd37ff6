// The bytes of a file in private memory, which goes back to the system part by part.
//
// A copy, not a mapping of the file: whoever overwrites or cuts the file later does not touch a program that was loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace dqt::ir {

class Pages {
  public:
    // Throws std::bad_alloc.
    explicit Pages(size_t size);
    ~Pages();
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;

    uint8_t* data() { return data_; }
    size_t size() const { return size_; }
    // Only the first bytes, so many, count.
    void cut(size_t size) { size_ = size; }
    // Nobody reads this part again. Pages that it shares with others stay.
    void drop(const uint8_t* first, size_t size);

  private:
    uint8_t *memory_, *data_;        // what the system gave; the first byte
    size_t size_, mapped_;           // mapped_: 0 of a block of the heap
};

// The bytes of a regular file, whatever the descriptor's position. Throws std::system_error where they cannot be read.
std::shared_ptr<Pages> read_pages(int descriptor);

// A part of `pages`, dropped once its last owner goes.
std::shared_ptr<const void> part(const std::shared_ptr<Pages>& pages, const uint8_t* first, size_t size);

}  // namespace dqt::ir
