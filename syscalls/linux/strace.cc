#include "syscalls/linux/strace.h"

#include <string>

#include "sentry/kernel/task.h"
#include "syscalls/linux/decode.h"
#include "syscalls/linux/gaps.h"

namespace syscalls {
namespace {

using sentry::SyscallArgs;
using sentry::SyscallResult;
using sentry::Task;

StraceSink g_sink = nullptr;
bool g_entries = false;
thread_local DecodedCall t_call;

void Emit(Task& task, const std::string& text) {
  std::string line = "[" + std::to_string(task.tid()) + "] " + task.comm() + ' ' + text;
  line += '\n';
  g_sink(line);
}

bool NeverReturns(uint64_t nr) {
  return nr == static_cast<uint64_t>(Sys::exit) || nr == static_cast<uint64_t>(Sys::exit_group);
}

void OnEnter(Task& task, const SyscallArgs& a) {
  t_call.Begin(task.mm(), a);
  if (g_entries || NeverReturns(a.nr)) Emit(task, t_call.Call() + " = ?");
}

void OnLeave(Task& task, const SyscallArgs& a, const SyscallResult& r) {
  CountCall(a.nr, !r.ok());
  if (NeverReturns(a.nr)) return;
  t_call.End(task.mm(), a, r);
  Emit(task, t_call.Call() + " = " + t_call.result());
}

void OnLeaveCounting(Task& task, const SyscallArgs& a, const SyscallResult& r) {
  CountCall(a.nr, !r.ok());
}

}  // namespace

sentry::SyscallHooks StraceHooks(StraceSink sink, bool entries) {
  g_sink = sink;
  g_entries = entries;
  return {&OnEnter, &OnLeave};
}

sentry::SyscallHooks CountingHooks() { return {nullptr, &OnLeaveCounting}; }

}  // namespace syscalls
