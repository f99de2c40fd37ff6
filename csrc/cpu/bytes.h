// Memory of the engine: aligned to cache lines, filled with zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace dqt {

// Bytes aligned to a cache line, that grow and are never copied.
class Bytes {
  public:
    Bytes() = default;
    // `streamed`: read from memory once in a run, and so from huge pages where the system has them.
    explicit Bytes(size_t size, bool streamed = false);
    // A part of what `owner` keeps, with the slack that kernels want behind it.
    Bytes(std::shared_ptr<uint8_t> owner, size_t size) : data_(std::move(owner)), size_(size) {}
    Bytes(Bytes&&) = default;
    Bytes& operator=(Bytes&&) = default;
    uint8_t* data() const { return data_.get(); }
    size_t size() const { return size_; }
    bool holds(size_t size) const;   // as one of this size would

  private:
    std::shared_ptr<uint8_t> data_;
    size_t size_ = 0;
};

// One block of huge pages for the packed weights of all layers: a fault for each page, and addresses that processors
// translate faster. What does not fit gets memory of its own, as everything does where there are few weights.
class Slab {
  public:
    // `weights`: bytes of all of them before they are packed, which makes them no fewer.
    explicit Slab(size_t weights);
    Bytes take(size_t size);

  private:
    std::shared_ptr<uint8_t> memory_;
    size_t used_ = 0, size_ = 0;
};

}  // namespace dqt
