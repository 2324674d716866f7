// The short commands about one container.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runsc-cli/boot/lifecycle.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;

int Finish(const Status& s) { return s.ok() ? 0 : Fail(s.text(), kExitOciFailure); }

// "15", "TERM", "SIGTERM"; -1: no signal.
int ParseSignal(const std::string& text) {
  char* end;
  const long number = strtol(text.c_str(), &end, 10);
  if (!text.empty() && *end == '\0')
    return number >= 0 && number <= 64 ? static_cast<int>(number) : -1;
  const std::string name = text.compare(0, 3, "SIG") == 0 ? text.substr(3) : text;
  for (int s = 1; s < SIGRTMIN; s++) {
    const char* abbreviation = sigabbrev_np(s);
    if (abbreviation != nullptr && name == abbreviation) return s;
  }
  return -1;
}

// Loads a container, holding its lock, and does something to it.
template <typename F>
int OnContainer(const Settings& settings, const FlagSet& flags, const char* usage,
                const Words& words, bool lock, F&& f) {
  std::string id;
  int status = 0;
  if (!ParseContainerCommand(flags, usage, words, &id, nullptr, &status)) return status;
  Record record;
  if (Status s = Record::Load(settings, id, lock, &record); !s.ok()) return Finish(s);
  return Finish(f(record));
}

}  // namespace

bool ParseContainerCommand(const FlagSet& flags, const char* usage, const Words& words,
                           std::string* id, Words* more, int* status) {
  size_t i = 0;
  Status st = flags.Parse(words, &i);
  if (st.ok() && flags.help_wanted()) {
    printf("usage: moat %s\n\n%s", usage, flags.Help().c_str());
    *status = 0;
    return false;
  }
  if (st.ok() && i == words.size())
    st = Status::Error(std::string("no container id given: moat ") + usage);
  if (st.ok() && more == nullptr && words.size() - i > 1)
    st = Status::Error("one container id is wanted, \"" + words[i + 1] + "\" is one word too many");
  if (!st.ok()) {
    *status = Fail(st.text(), kExitOciFailure);
    return false;
  }
  *id = words[i];
  if (more != nullptr) more->assign(words.begin() + static_cast<long>(i) + 1, words.end());
  return true;
}

int CmdStart(const Settings& settings, const Words& words) {
  return OnContainer(settings, FlagSet(), "start ID", words, true,
                     [](Record& r) { return StartContainer(r); });
}

int CmdState(const Settings& settings, const Words& words) {
  return OnContainer(settings, FlagSet(), "state ID", words, false, [](Record& r) {
    printf("%s\n", r.StateJson(StatusOf(r)).c_str());
    return Status();
  });
}

int CmdPause(const Settings& settings, const Words& words) {
  return OnContainer(settings, FlagSet(), "pause ID", words, true,
                     [](Record& r) { return PauseContainer(r); });
}

int CmdResume(const Settings& settings, const Words& words) {
  return OnContainer(settings, FlagSet(), "resume ID", words, true,
                     [](Record& r) { return ResumeContainer(r); });
}

int CmdKill(const Settings& settings, const Words& words) {
  bool all = false;
  FlagSet flags;
  flags.Bool("all", &all, "signal every process of the container");
  flags.Alias("a", "all");
  std::string id;
  Words more;
  int status = 0;
  if (!ParseContainerCommand(flags, "kill [--all] ID [SIGNAL]", words, &id, &more, &status))
    return status;
  const std::string name = more.empty() ? "SIGTERM" : more[0];
  const int signal = ParseSignal(name);
  if (more.size() > 1 || signal < 0)
    return Fail("unknown signal \"" + name + "\"", kExitOciFailure);
  Record record;
  if (Status s = Record::Load(settings, id, false, &record); !s.ok()) return Finish(s);
  return Finish(KillContainer(record, signal, all));
}

int CmdDelete(const Settings& settings, const Words& words) {
  bool force = false;
  FlagSet flags;
  flags.Bool("force", &force, "kill it first if it runs; no error if it does not exist");
  flags.Alias("f", "force");
  std::string id;
  int status = 0;
  if (!ParseContainerCommand(flags, "delete [--force] ID", words, &id, nullptr, &status))
    return status;
  return Finish(DeleteContainer(settings, id, force));
}

int CmdWait(const Settings& settings, const Words& words) {
  return OnContainer(settings, FlagSet(), "wait ID", words, false, [](Record& r) -> Status {
    base::UniqueFd connection;
    RETURN_IF_ERROR(Connect(r, &connection));
    ControlMessage m;
    SendControl(connection.get(), Control::kWait);
    if (!ReceiveControl(connection.get(), &m) || m.kind != Control::kExit)
      return Status::Error("container not running: the sandbox ended");
    printf("{\"id\":\"%s\",\"exitStatus\":%d}\n", r.id.c_str(), ExitCode(m.value));
    return {};
  });
}

}  // namespace runsc
