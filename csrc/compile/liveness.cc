#include "liveness.h"

#include <algorithm>
#include <iterator>

#include "fusion.h"

namespace dqt {

std::vector<char> needed(const Program& program, bool automatic) {
    std::vector<char> result(program.ops.size()), wanted(program.values.size());
    for (size_t i = program.ops.size(); i-- > 0;) {
        const Op& op = program.ops[i];
        const int out = writes(op);
        result[i] = out >= 0 ? wanted[out] : automatic || !std::holds_alternative<Choose>(op);
        if (!result[i]) continue;
        for (const int v : reads(op)) wanted[v] = 1;
    }
    return result;
}

int only_reader(const Program& program, const std::vector<char>& live, int value, size_t i) {
    int found = -1;
    for (size_t j = i + 1; j < program.ops.size(); ++j) {
        const std::vector<int> in = live[j] ? reads(program.ops[j]) : std::vector<int>();
        if (std::find(in.begin(), in.end(), value) == in.end()) continue;
        if (found >= 0) return -1;
        found = static_cast<int>(j);
    }
    return found;
}

std::vector<Life> lives(const Program& program, const std::vector<char>& live, const std::vector<int>& fused) {
    std::vector<Life> result(program.values.size(), {-1, -1, -1});
    for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
        if (!live[i] || fused[i] == FUSED_BEFORE) continue;
        const int own = writes(program.ops[i]), out = fused[i] >= 0 ? writes(program.ops[fused[i]]) : own;
        if (out >= 0) result[out] = {out, i, i};
        std::vector<int> in = reads(program.ops[i]);
        if (fused[i] >= 0) std::ranges::copy(reads(program.ops[fused[i]]), std::back_inserter(in));
        for (const int v : in)
            if (fused[i] < 0 || v != own) result[v].last = i;
    }
    return result;
}

}  // namespace dqt
