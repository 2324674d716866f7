// moat create and moat run: a container from an OCI bundle.
#include <cstdio>
#include <cstdlib>

#include "runsc-cli/boot/lifecycle.h"
#include "runsc-cli/boot/relay.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/oci/config.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;

struct BundleFlags {
  std::string bundle = ".", preserve = "0";
  bool detach = false, keep = false;
  CreateOptions options;
};

void AddBundleFlags(FlagSet* flags, BundleFlags* f) {
  flags->String("bundle", &f->bundle, "DIR", "the bundle's directory (default: the present one)");
  flags->Alias("b", "bundle");
  flags->String("pid-file", &f->options.pid_file, "FILE", "where the container's process id goes");
  flags->String("console-socket", &f->options.console_socket, "SOCKET",
                "whom the master of the container's terminal is sent to");
  flags->String("preserve-fds", &f->preserve, "N",
                "also give the container descriptors 3, 4... (N)");
  for (const char* name : {"no-pivot", "no-new-keyring", "no-subreaper"})
    flags->Ignored(name, false);
}

Status ReadSpec(const BundleFlags& f, const std::string& id, Spec* spec) {
  // Before anything is looked for under that name.
  RETURN_IF_ERROR(CheckId(id));
  std::vector<std::string> warnings;
  Status st = ReadBundle(f.bundle, spec, &warnings);
  for (const std::string& w : warnings) Warn(w);
  spec->id = id;
  return st;
}

Status Detached(const Settings& settings, const Spec& spec, BundleFlags* f, Record* record) {
  if (spec.process.terminal && f->options.console_socket.empty())
    return Status::Error("cannot allocate tty if runc will detach without setting console socket");
  if (!spec.process.terminal && !f->options.console_socket.empty())
    return Status::Error("cannot use console socket if runc will not detach or allocate tty");
  f->options.streams = Relay().CallerStreams(false);
  f->options.preserve_fds = atoi(f->preserve.c_str());
  Sandbox sandbox;
  return CreateContainer(settings, spec, std::move(f->options), record, &sandbox);
}

int Foreground(const Settings& settings, const Spec& spec, BundleFlags* f) {
  Relay relay;
  Record record;
  int status = -1;
  {
    Sandbox sandbox;
    Status st = relay.HoldSignals();
    f->options.streams = relay.CallerStreams(spec.process.terminal);
    f->options.preserve_fds = atoi(f->preserve.c_str());
    f->options.detach = false;
    if (st.ok()) st = CreateContainer(settings, spec, std::move(f->options), &record, &sandbox);
    if (!st.ok()) return Fail(st.text(), sandbox.failure != 0 ? sandbox.failure : kExitOciFailure);
    st = StartContainer(record, sandbox.control.get());
    if (st.ok()) {
      relay.Run(sandbox.control.get(), &status);
      if (status < 0) status = Fail(sandbox.LastWords(), kExitOciFailure);
    } else {
      status = Fail(st.text(), kExitOciFailure);
    }
  }
  if (f->keep) return status;
  if (Status st = DeleteContainer(settings, spec.id, true); !st.ok()) Warn(st.text());
  return status;
}

}  // namespace

int CmdCreate(const Settings& global, const Words& words) {
  Settings settings = global;
  // Its callers commit, copy and build from the root that they gave.
  if (settings.overlay.empty()) settings.overlay = "none";
  BundleFlags f;
  FlagSet flags;
  AddBundleFlags(&flags, &f);
  std::string id;
  int status = 0;
  if (!ParseContainerCommand(flags, "create [FLAGS] ID", words, &id, nullptr, &status))
    return status;
  Spec spec;
  Record record;
  Status st = ReadSpec(f, id, &spec);
  if (st.ok()) st = Detached(settings, spec, &f, &record);
  return st.ok() ? 0 : Fail(st.text(), kExitOciFailure);
}

int CmdRun(const Settings& settings, const Words& words) {
  BundleFlags f;
  FlagSet flags;
  AddBundleFlags(&flags, &f);
  flags.Bool("detach", &f.detach, "come back as soon as the container runs");
  flags.Alias("d", "detach");
  flags.Bool("keep", &f.keep, "keep the container when its process has ended");
  std::string id;
  int status = 0;
  if (!ParseContainerCommand(flags, "run [FLAGS] ID", words, &id, nullptr, &status)) return status;
  Spec spec;
  Status st = ReadSpec(f, id, &spec);
  if (!st.ok()) return Fail(st.text(), kExitOciFailure);
  if (!f.detach) return Foreground(settings, spec, &f);
  Record record;
  st = Detached(settings, spec, &f, &record);
  if (st.ok()) {
    st = StartContainer(record);
    if (!st.ok()) (void)DeleteContainer(settings, id, true);
  }
  return st.ok() ? 0 : Fail(st.text(), kExitOciFailure);
}

}  // namespace runsc
