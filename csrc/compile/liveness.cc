#include "liveness.h"

#include <algorithm>
#include <iterator>

namespace dqt {

std::vector<char> needed(const Program& program, bool automatic) {
    std::vector<char> result(program.ops.size()), wanted(program.values.size());
    for (size_t i = program.ops.size(); i-- > 0;) {
        const Op& op = program.ops[i];
        const int out = writes(op);
        result[i] = out >= 0 ? wanted[out] : automatic || !decides(op);
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

std::vector<Life> lives(const Program& program, const std::vector<char>& live, const Fusions& fusions,
                        const std::vector<int>& root) {
    std::vector<Life> result(program.values.size(), {-1, -1, -1});
    for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
        const int last = fusions.fused[i];
        if (!live[i] || runs_elsewhere(last)) continue;
        std::vector<int> in, inside;  // what it reads; what it hands on to itself
        const auto add = [&](int op, bool ends) {
            std::ranges::copy(reads(program.ops[op]), std::back_inserter(in));
            if (!ends) inside.push_back(writes(program.ops[op]));
        };
        const Attention& attention = fusions.attention[i];
        for (const int each : {attention.scores, attention.mask, attention.softmax})
            if (each >= 0) add(each, false);
        add(i, last < 0);
        if (last >= 0) add(last, true);
        const int out = writes(program.ops[last >= 0 ? last : i]);
        if (out >= 0) {
            Life& life = result[root[out]];
            life = {root[out], life.value < 0 ? i : life.first, i};
        }
        for (const int v : in)
            if (std::ranges::find(inside, v) == inside.end()) result[root[v]].last = i;
    }
    return result;
}

}  // namespace dqt
