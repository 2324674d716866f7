// proc(5). One instance shows one pid namespace: that of the task that mounted it.
#pragma once

#include "sentry/fs/synth/synth.h"
#include "sentry/kernel/kernel.h"

namespace sentry {

// The root inode of a new instance.
base::Ref<Inode> NewProcFs(Kernel& kernel, base::Ref<PidNamespace> ns);

// For parts of the kernel that show themselves below /proc; called at boot, before the first
// instance is made. path: components below /proc, such as "sys/kernel/x"; missing directories are
// made. Below "net" they are what every /proc/[pid]/net shows.
struct ProcEntry {
  std::string path;
  uint32_t mode;
  SynthFile::ReadFn read;
  SynthFile::WriteFn write;
};
void RegisterProcEntry(ProcEntry e);

namespace proc {

// The controlling terminal of a session as /proc/[pid]/stat shows it; installed by boot, called
// under the tree lock.
struct TerminalFacts {
  uint64_t dev = 0;
  int32_t foreground = 0;  // process group, root namespace id
};
void SetTerminalFacts(TerminalFacts (*get)(Session& session));

// What a /proc/[pid] directory needs to know.
struct Instance : public SynthSuperblock {
  Instance(Kernel& k, base::Ref<PidNamespace> n)
      : SynthSuperblock("proc", 0x9fa0, false), kernel(k), ns(std::move(n)) {}
  bool has_negatives() const override { return false; }
  Kernel& kernel;
  const base::Ref<PidNamespace> ns;
  // /proc/[pid]/net of all processes: it shows the reader's network namespace.
  base::Ref<SynthStaticDir> net;
};

// /proc/[pid] (thread false) or /proc/[pid]/task/[tid].
base::Ref<Inode> NewTaskDir(base::Ref<Instance> sb, base::Ref<Task> task, bool thread);
// Global files and sys, at boot order.
void AddGlobalFiles(Kernel& kernel, SynthStaticDir& root);
void AddSysctls(Kernel& kernel, SynthStaticDir& root);

// Inode numbers that are the same at each lookup.
uint64_t InoFor(int32_t id, uint32_t kind, uint32_t sub = 0);
// ptrace_may_access(PTRACE_MODE_READ_FSCREDS) for the current task.
bool MayRead(const Task& target);
// What /proc/[pid]/cmdline shows: the arguments, each with a NUL.
base::Result<std::string> CommandLine(Task& t);
// printf into a string.
std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace proc
}  // namespace sentry
