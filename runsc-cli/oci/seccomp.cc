// linux.seccomp of config.json as the classic BPF program that the sentry runs for its guests.
#include <linux/filter.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "platform/base/fd.h"
#include "runsc-cli/oci/config.h"

namespace runsc {
namespace {

struct ActionRow {
  const char* name;
  uint32_t action;
  bool takes_errno;
};
constexpr ActionRow kActions[] = {{"SCMP_ACT_KILL", SCMP_ACT_KILL, false},
                                  {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false},
                                  {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false},
                                  {"SCMP_ACT_TRAP", SCMP_ACT_TRAP, false},
                                  {"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true},
                                  {"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true},
                                  {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false},
                                  {"SCMP_ACT_LOG", SCMP_ACT_LOG, false}};

struct OpRow {
  const char* name;
  scmp_compare op;
};
constexpr OpRow kOps[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                          {"SCMP_CMP_LT", SCMP_CMP_LT},
                          {"SCMP_CMP_LE", SCMP_CMP_LE},
                          {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                          {"SCMP_CMP_GE", SCMP_CMP_GE},
                          {"SCMP_CMP_GT", SCMP_CMP_GT},
                          {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};

bool ReadAction(JsonObject& o, const char* key, const char* errno_key, uint32_t* action) {
  std::string name;
  uint32_t error = EPERM;
  o.String(key, &name);
  o.Number(errno_key, &error);
  for (const ActionRow& row : kActions) {
    if (name != row.name) continue;
    *action = row.action | (row.takes_errno ? error & 0xffff : 0);
    return true;
  }
  o.Error(o.Name(key) + ": action \"" + name + "\" is not supported");
  return false;
}

bool ReadArgs(JsonObject& call, std::vector<scmp_arg_cmp>* args) {
  bool ok = true;
  call.Each("args", [&](JsonObject& a) {
    unsigned index = 0;
    uint64_t value = 0, second = 0;
    std::string op;
    a.Number("index", &index);
    a.Number("value", &value);
    a.Number("valueTwo", &second);
    a.String("op", &op);
    for (const OpRow& row : kOps) {
      if (op != row.name || index > 5) continue;
      args->push_back({index, row.op, value, second});
      return;
    }
    a.Error(a.Name("op") + ": index " + std::to_string(index) + " and \"" + op +
            "\" make no comparison");
    ok = false;
  });
  return ok;
}

class Filter {
 public:
  explicit Filter(uint32_t action) : default_(action), context_(seccomp_init(action)) {
    // A tree over the numbers, so that a call with rules costs a few steps.
    if (context_ != nullptr) seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  }
  ~Filter() { seccomp_release(context_); }

  int Add(const std::string& name, uint32_t action, const std::vector<scmp_arg_cmp>& args) {
    const int number = seccomp_syscall_resolve_name(name.c_str());
    // Not a call of this architecture.
    if (number < 0) return 0;
    highest_ = std::max(highest_, number);
    if (action == default_) return 0;
    bool repeated = false;
    for (size_t i = 0; i < args.size(); i++) {
      for (size_t k = 0; k < i; k++) repeated = repeated || args[i].arg == args[k].arg;
    }
    if (!repeated) {
      return seccomp_rule_add_array(context_, action, number, static_cast<unsigned>(args.size()),
                                    args.data());
    }
    // Several conditions on one argument can't be met at once: as runc, each one suffices.
    for (const scmp_arg_cmp& arg : args) {
      if (int r = seccomp_rule_add_array(context_, action, number, 1, &arg); r != 0) return r;
    }
    return 0;
  }

  int Export(std::vector<abi::SockFilter>* program) {
    base::UniqueFd fd(memfd_create("seccomp", MFD_CLOEXEC));
    if (!fd) return -errno;
    if (int r = seccomp_export_bpf(context_, fd.get()); r != 0) return r;
    const off_t size = lseek(fd.get(), 0, SEEK_END);
    if (size <= 0 || size % sizeof(abi::SockFilter) != 0) return -EIO;
    // As runc: calls that are younger than the profile look unknown, so that programs fall back to
    // older ones.
    const uint32_t kind = default_ & kActionMask;
    if (kind != SCMP_ACT_ALLOW && kind != SCMP_ACT_LOG && highest_ > 0) {
      program->push_back({BPF_LD | BPF_W | BPF_ABS, 0, 0, 0});
      program->push_back({BPF_JMP | BPF_JGT | BPF_K, 0, 1, static_cast<uint32_t>(highest_)});
      program->push_back({BPF_RET | BPF_K, 0, 0, SCMP_ACT_ERRNO(ENOSYS)});
    }
    const size_t at = program->size();
    program->resize(at + static_cast<size_t>(size) / sizeof(abi::SockFilter));
    return pread(fd.get(), program->data() + at, static_cast<size_t>(size), 0) == size ? 0 : -EIO;
  }
  bool valid() const { return context_ != nullptr; }

 private:
  static constexpr uint32_t kActionMask = 0xffff0000u;
  const uint32_t default_;
  scmp_filter_ctx context_;
  int highest_ = 0;
};

}  // namespace

void ReadSeccomp(JsonObject&& object, std::vector<abi::SockFilter>* program) {
  if (!object.present()) return;
  // Guests are x86-64 only; filter flags tune the host's mechanism.
  for (const char* key : {"architectures", "flags"}) object.Known(key);
  uint32_t action = 0;
  if (!ReadAction(object, "defaultAction", "defaultErrnoRet", &action)) return;
  Filter filter(action);
  if (!filter.valid()) return object.Error("linux.seccomp: no filter can be made");
  object.Each("syscalls", [&](JsonObject& call) {
    std::vector<std::string> names;
    std::vector<scmp_arg_cmp> args;
    uint32_t call_action = 0;
    call.Strings("names", &names);
    if (!ReadAction(call, "action", "errnoRet", &call_action) || !ReadArgs(call, &args)) return;
    for (const std::string& name : names) {
      if (int r = filter.Add(name, call_action, args); r != 0)
        return call.Error(call.Name("names") + ": " + name + ": " + strerror(-r));
    }
  });
  if (int r = filter.Export(program); r != 0)
    object.Error(std::string("linux.seccomp: ") + strerror(-r));
}

std::vector<std::string> SeccompActionNames() {
  std::vector<std::string> names;
  for (const ActionRow& row : kActions) names.push_back(row.name);
  return names;
}

}  // namespace runsc
