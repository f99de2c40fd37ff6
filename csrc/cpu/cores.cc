#include "cores.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace dqt {
namespace {

// A cgroup file system: where it is mounted, and which group its top shows (a container sees its own group there).
struct Mount {
    std::string top, point;
    bool unified = false;
};

bool lists(const std::string& options, const char* word) {
    std::istringstream text(options);
    for (std::string each; std::getline(text, each, ',');)
        if (each == word) return true;
    return false;
}

// The mounts that may limit processor time, from lines "id parent device top point options ... - type source options".
std::vector<Mount> mounts(const std::string& root) {
    std::vector<Mount> found;
    std::ifstream file(root + "/proc/self/mountinfo");
    for (std::string line; std::getline(file, line);) {
        Mount mount;
        std::string skipped, type, options;
        std::istringstream text(line);
        text >> skipped >> skipped >> skipped >> mount.top >> mount.point;
        while (text >> skipped && skipped != "-") {
        }
        text >> type >> skipped >> options;
        mount.unified = type == "cgroup2";
        if (mount.unified || (type == "cgroup" && lists(options, "cpu"))) found.push_back(mount);
    }
    return found;
}

// This process's group in a hierarchy, from lines "number:controllers:path"; "" where it is in none.
std::string group_of(const std::string& root, bool unified) {
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        if (unified ? controllers.empty() : lists(controllers, "cpu")) return line.substr(second + 1);
    }
    return "";
}

// Cores of one group's own limit, or 0: version 2 has "max 100000" or "150000 100000" in one file, version 1 two files.
double limit_of(const std::string& folder, bool unified) {
    double quota = 0, period = 0;
    if (unified) {
        std::ifstream(folder + "/cpu.max") >> quota >> period;  // "max" is no number
    } else {
        std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;  // -1: no limit
        std::ifstream(folder + "/cpu.cfs_period_us") >> period;
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

// The part of a group's path below `top`; "" where the group is `top` itself or lies elsewhere.
std::string below(const std::string& group, const std::string& top) {
    if (top == "/") return group;
    const bool inside = group.compare(0, top.size(), top) == 0 && (group.size() == top.size() || group[top.size()] == '/');
    return inside ? group.substr(top.size()) : "";
}

// The smallest limit of a group and of those above it, as far as the mount shows them; 0: none.
double smallest_limit(const std::string& root, const Mount& mount) {
    std::string group = below(group_of(root, mount.unified), mount.top);
    double least = 0;
    while (true) {
        if (group == "/") group.clear();
        const double limit = limit_of(root + mount.point + group, mount.unified);
        if (limit > 0 && (least == 0 || limit < least)) least = limit;
        if (group.empty()) return least;
        const size_t last = group.rfind('/');
        group.erase(last == std::string::npos ? 0 : last);
    }
}

int affinity_cores() {
#if defined(__linux__)
    cpu_set_t usual;
    if (sched_getaffinity(0, sizeof usual, &usual) == 0) return CPU_COUNT(&usual);
    for (int most = 4 * CPU_SETSIZE; most <= 1 << 20; most *= 4) {  // machines of more cores need larger sets
        cpu_set_t* set = CPU_ALLOC(most);
        if (!set) break;
        const size_t size = CPU_ALLOC_SIZE(most);
        const int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) return count;
    }
#endif
    return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// The quota as it was at most a second ago: its files are cheap each second and dear each run.
int recent_quota() {
    using Clock = std::chrono::steady_clock;
    static std::atomic<int64_t> read_at{0};
    static std::atomic<int> quota{0};
    const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch()).count() + 1;
    int64_t before = read_at.load(std::memory_order_relaxed);
    if (before == 0 || (now - before > 1000 && read_at.compare_exchange_strong(before, now))) {
        quota.store(quota_cores(""), std::memory_order_relaxed);
        read_at.store(now, std::memory_order_relaxed);
    }
    return quota.load(std::memory_order_relaxed);
}

std::atomic<int> assumed{0};
std::atomic<int> held{0};  // threads of all runs

}  // namespace

int quota_cores(const std::string& root) {
    double least = 0;
    for (const Mount& mount : mounts(root)) {
        const double limit = smallest_limit(root, mount);
        if (limit > 0 && (least == 0 || limit < least)) least = limit;
    }
    return least > 0 ? static_cast<int>(std::clamp(least, 1.0, 1e6)) : 0;
}

int usable_cores() {
    const int count = assumed.load(std::memory_order_relaxed);
    if (count > 0) return count;
    const int affinity = affinity_cores(), quota = recent_quota();
    return std::max(1, quota > 0 ? std::min(affinity, quota) : affinity);
}

int machine_cores() {
    const int usable = usable_cores();
#if defined(_SC_NPROCESSORS_ONLN)
    if (assumed.load(std::memory_order_relaxed) == 0) return std::max(usable, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
#endif
    return usable;
}

void assume_cores(int count) { assumed = count; }

Share::Share(int wanted) : count_(1) {
    if (wanted > 1) {
        const int cores = usable_cores();
        count_ = std::clamp(cores - held.load(std::memory_order_relaxed), 1, std::min(wanted, cores));
    }
    held.fetch_add(count_, std::memory_order_relaxed);
}

Share::~Share() { held.fetch_sub(count_, std::memory_order_relaxed); }

void forget_shares() { held.store(0, std::memory_order_relaxed); }

}  // namespace dqt
