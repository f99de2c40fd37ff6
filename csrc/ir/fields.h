// The fields of one JSON object, read by name and type; nothing is converted, filled in or ignored.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checks.h"
#include "json.h"

namespace dqt::ir {

class Fields {
  public:
    // Throws LoadError unless `value` is an object with exactly the keys `names`.
    Fields(const json::Value& value, std::string where, const std::vector<std::string_view>& names);

    const std::string& where() const { return where_; }

    const json::Value& at(std::string_view name) const;
    int64_t integer(std::string_view name) const;
    int small(std::string_view name) const;  // an integer that fits an int
    double real(std::string_view name) const;
    bool flag(std::string_view name) const;
    const std::string& text(std::string_view name) const;  // 1 to 512 printable characters
    const json::List& list(std::string_view name) const;
    Numbers integers(std::string_view name) const;
    std::vector<int> smalls(std::string_view name) const;
    void integers(std::string_view name, std::span<int64_t> out) const;  // exactly so many of them
    std::vector<std::string> texts(std::string_view name) const;
    std::vector<std::string> labels(std::string_view name) const;  // names, or "" for none

  private:
    int64_t integer_of(std::string_view name, const json::Value& value) const;
    [[noreturn]] void wrong(std::string_view name, const char* need) const;
    int small_of(std::string_view name, const json::Value& value) const;
    const std::string& text_of(std::string_view name, const json::Value& value) const;

    const json::Object* members_ = nullptr;
    std::string where_;
};

}  // namespace dqt::ir
