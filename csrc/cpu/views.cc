#include "views.h"

#include <numeric>

#include "../compile/liveness.h"

namespace dqt {
namespace {

Shape shape_of(const Tensor& t) { return Shape(t.shape.begin(), t.shape.end()); }

class Finder {
  public:
    Finder(const Program& program, const std::vector<char>& live, const std::vector<std::vector<int>>& reads,
           const std::vector<Tensor>& values, std::vector<Shape> strides)
        : program_(program), live_(live), reads_(reads), values_(values), laid_out_(std::move(strides)),
          defined_(values.size(), -1) {
        found_.moved.assign(program.ops.size(), 0);
        for (size_t i = 0; i < program.ops.size(); ++i) {
            const int out = writes(program.ops[i]);
            if (out >= 0) defined_[out] = static_cast<int>(i);
            found_.moved[i] = live[i] && moves(program.ops[i]) && held(reads[i][0]) && !values[out].planar;
        }
    }

    Views all() {
        do {
            reset();
            for (size_t i = 0; i < program_.ops.size(); ++i)
                if (found_.moved[i] && !see(program_.ops[i])) found_.moved[i] = 0;
        } while (refused());
        for (size_t i = 0; i < program_.ops.size(); ++i)
            if (live_[i] && std::holds_alternative<MatMul>(program_.ops[i])) follow(i);
        return std::move(found_);
    }

  private:
    static bool moves(const Op& op) {
        return std::holds_alternative<Reshape>(op) || std::holds_alternative<Transpose>(op) ||
               std::holds_alternative<Slice>(op);
    }
    // Whether a value lies in the arena, row by row: constants lie elsewhere.
    bool held(int v) const {
        const bool constant = defined_[v] >= 0 && std::holds_alternative<Constant>(program_.ops[defined_[v]]);
        return !values_[v].planar && !constant;
    }
    void reset() {
        found_.root.resize(values_.size());
        std::iota(found_.root.begin(), found_.root.end(), 0);
        found_.inside.assign(values_.size(), 0);
        found_.strides = laid_out_;
    }

    // The result of `op` as a view of what it reads.
    bool see(const Op& op) {
        const int x = reads_[defined_[writes(op)]][0], out = writes(op);
        const Shape& strides = found_.strides[x];
        Shape seen(values_[out].shape.size());
        int64_t inside = found_.inside[x];
        if (const auto* transpose = std::get_if<Transpose>(&op)) {
            for (size_t d = 0; d < seen.size(); ++d) seen[d] = strides[transpose->axes[d]];
        } else if (const auto* slice = std::get_if<Slice>(&op)) {
            for (size_t d = 0; d < seen.size(); ++d) {
                const int64_t first = slice->starts[d], length = values_[x].shape[d];
                inside += (first < 0 ? first + length : first) * strides[d];
                seen[d] = strides[d] * slice->steps[d];
            }
        } else if (!reshape_strides(shape_of(values_[x]), strides, shape_of(values_[out]), values_[x].element(), seen)) {
            return false;
        }
        found_.strides[out] = seen;
        found_.inside[out] = inside;
        found_.root[out] = found_.root[x];
        return true;
    }

    // Takes back the views that something reads which cannot; whether there were any.
    bool refused() {
        bool any = false;
        for (size_t i = 0; i < program_.ops.size(); ++i) {
            if (!live_[i] || found_.moved[i] || std::holds_alternative<MatMul>(program_.ops[i])) continue;
            for (const int v : reads_[i])
                if (defined_[v] >= 0 && found_.moved[defined_[v]]) found_.moved[defined_[v]] = 0, any = true;
        }
        return any;
    }

    // What product `i` writes goes to where the elements are moved to, if nothing else reads it on the way.
    void follow(size_t i) {
        std::vector<int> chain{writes(program_.ops[i])};
        std::vector<int> ops;
        for (size_t at = i;;) {
            const int next = only_reader(program_, live_, chain.back(), at);
            if (next < 0 || found_.moved[next] || !moves(program_.ops[next]) ||
                std::holds_alternative<Slice>(program_.ops[next]))
                break;
            const Tensor& to = values_[writes(program_.ops[next])];
            if (to.planar || to.pixel != to.channels * to.element()) break;
            ops.push_back(next);
            chain.push_back(writes(program_.ops[next]));
            at = static_cast<size_t>(next);
        }
        for (; !ops.empty(); ops.pop_back(), chain.pop_back())
            if (written_through(ops, chain)) return;
    }

    // The values of a chain as views of its last.
    bool written_through(const std::vector<int>& ops, const std::vector<int>& chain) {
        const int last = chain.back();
        Shape strides = found_.strides[last];
        std::vector<Shape> seen(ops.size());
        for (size_t k = ops.size(); k-- > 0;) {
            const Tensor &from = values_[chain[k]], &to = values_[chain[k + 1]];
            seen[k].resize(from.shape.size());
            if (const auto* transpose = std::get_if<Transpose>(&program_.ops[ops[k]])) {
                for (size_t d = 0; d < strides.size(); ++d) seen[k][transpose->axes[d]] = strides[d];
            } else if (!reshape_strides(shape_of(to), strides, shape_of(from), to.element(), seen[k])) {
                return false;
            }
            strides = seen[k];
        }
        for (size_t k = 0; k < ops.size(); ++k) {
            found_.moved[ops[k]] = 1;
            found_.strides[chain[k]] = seen[k];
            found_.root[chain[k]] = last;
            found_.inside[chain[k]] = 0;
        }
        return true;
    }

    const Program& program_;
    const std::vector<char>& live_;
    const std::vector<std::vector<int>>& reads_;
    const std::vector<Tensor>& values_;
    const std::vector<Shape> laid_out_;
    std::vector<int> defined_;       // by value: the instruction
    Views found_;
};

}  // namespace

bool reshape_strides(const Shape& from, const Shape& strides, const Shape& to, int64_t element, Shape& result) {
    Shape length, step;              // of dimensions longer than 1
    for (size_t d = 0; d < from.size(); ++d)
        if (from[d] > 1) length.push_back(from[d]), step.push_back(strides[d]);
    result.assign(to.size(), element);
    size_t j = 0;
    for (size_t i = 0; i < length.size();) {  // dimensions of both that hold the same elements
        size_t last = i, end = j + 1;
        for (int64_t have = length[i], want = to[j]; have != want;) {
            if (have > want) {
                want *= to[end++];
                continue;
            }
            if (step[last] != step[last + 1] * length[last + 1]) return false;
            have *= length[++last];
        }
        int64_t at = step[last];
        for (size_t k = end; k-- > j; at *= to[k]) result[k] = at;
        i = last + 1, j = end;
    }
    return true;
}

Views find_views(const Program& program, const std::vector<char>& live, const std::vector<std::vector<int>>& reads,
                 const std::vector<Tensor>& values, std::vector<Shape> strides) {
    return Finder(program, live, reads, values, std::move(strides)).all();
}

}  // namespace dqt
