// execve(2)'s loading of a program into a fresh address space: ELF programs, with an interpreter or
// without, and scripts (fs/exec.c, fs/binfmt_elf.c, fs/binfmt_script.c).
#pragma once

#include <string_view>

#include "sentry/kernel/kernel.h"

namespace sentry {

// For Kernel::set_loader.
base::Result<Kernel::LoadedImage> LoadProgram(Kernel& k, const TaskVfs& vfs, const ExecArgs& args,
                                              const Creds& creds, bool no_new_privs,
                                              const Limits& limits);

// The first line of a script: load_script()'s rules for its first 256 bytes. ENOEXEC.
struct ScriptLine {
  std::string interpreter, argument;
  bool has_argument = false;
};
base::Result<ScriptLine> ParseScript(std::string_view head);

// The initial stack: strings, auxiliary vector, pointers. Separate for tests.
struct StackArgs {
  std::vector<std::string> argv, envp;
  std::string filename;
  std::vector<uint64_t> auxv;  // type, value; AT_RANDOM, AT_EXECFN and AT_PLATFORM are filled in
  uint8_t random[16] = {};
};
struct StackImage {
  uint64_t sp = 0;    // where bytes go; the program's initial stack pointer
  std::string bytes;  // up to the top
  uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
  std::vector<uint64_t> auxv;
};
StackImage BuildStack(uint64_t top, const StackArgs& a);

}  // namespace sentry
