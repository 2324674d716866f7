// The files of /proc/[pid], as rows of a table in task_dir.cc; what makes their text is in
// task_text.cc and task_maps.cc.
#pragma once

#include "sentry/fs/proc/proc.h"

namespace sentry {
namespace proc {

using Text = base::Result<std::string>;

Text TaskStat(Instance& i, Task& t, bool thread);
Text TaskStatus(Instance& i, Task& t, bool thread);
Text TaskStatm(Instance& i, Task& t, bool thread);
Text TaskCmdline(Instance& i, Task& t, bool thread);
Text TaskEnviron(Instance& i, Task& t, bool thread);
Text TaskComm(Instance& i, Task& t, bool thread);
Text TaskAuxv(Instance& i, Task& t, bool thread);
Text TaskLimits(Instance& i, Task& t, bool thread);
Text TaskCgroup(Instance& i, Task& t, bool thread);
Text TaskMaps(Instance& i, Task& t, bool thread);
Text TaskSmaps(Instance& i, Task& t, bool thread);
Text TaskSmapsRollup(Instance& i, Task& t, bool thread);
Text TaskMounts(Instance& i, Task& t, bool thread);
Text TaskMountinfo(Instance& i, Task& t, bool thread);
Text TaskMountstats(Instance& i, Task& t, bool thread);
Text TaskIo(Instance& i, Task& t, bool thread);
Text TaskUidMap(Instance& i, Task& t, bool thread);
Text TaskGidMap(Instance& i, Task& t, bool thread);
Text TaskSetgroups(Instance& i, Task& t, bool thread);

base::Result<void> WriteComm(Task& t, std::string_view text);
base::Result<void> WriteOomScoreAdj(Task& t, std::string_view text);
base::Result<void> WriteIdMap(Task& t, std::string_view text, bool gid);
base::Result<void> WriteSetgroups(Task& t, std::string_view text);

// /proc/[pid]/fd and fdinfo.
base::Ref<Inode> NewFdDir(base::Ref<Instance> sb, base::Ref<Task> task, bool info);

// The path of p as seen by the current task, from its root.
std::string PathForReader(const Path& p);

}  // namespace proc
}  // namespace sentry
