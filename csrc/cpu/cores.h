// How many threads a run may have: the cores that the calling thread may use, less those that other runs hold.
#pragma once

#include <string>

#include "../ir/shared.h"

namespace dqt {

// Whole cores of the cgroup's processor time, of version 1 and 2 and of every group above, or 0 where there is no limit.
// Time for one core and a half pays for one thread: two would stand still for a quarter of each period. `root`: where
// the files of the system begin, "" but in tests.
DQT_SHARED int quota_cores(const std::string& root);

// The cores that the calling thread may use now, by its affinity and its cgroups, at least 1.
DQT_SHARED int usable_cores();

// The cores of the machine: no thread may ever use more.
int machine_cores();

// From now on takes `count` cores for those of the machine, all usable; 0: counts them again. For tests.
DQT_SHARED void assume_cores(int count);

// The threads of one run, among all runs of this process at the same time: no more than are wanted and usable, and
// where other runs hold cores, the rest of them; always the caller's own.
class Share {
  public:
    explicit Share(int wanted);
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    int count() const { return count_; }

  private:
    int count_;
};

// In the child after a fork: the runs of the other threads are not there.
void forget_shares();

}  // namespace dqt
