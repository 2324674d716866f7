// The conversation of the command and a sandbox, over SOCK_SEQPACKET: the first connection is made
// at the sandbox's start (its owner), others come through the socket in the container's state
// directory. The sandbox believes its callers, who may do all this by other means; callers do not
// believe the sandbox: sizes are bounded, and texts are printed with control characters removed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/boot/gofer_launch.h"
#include "runsc-cli/boot/share.h"
#include "runsc-cli/boot/streams.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

enum class Control : uint32_t {
  // To the sandbox. Those with a reply are answered by kDone, kReply, or kFailed.
  kSignal = 1,  // value: the signal for the process of this connection (the owner's: the first)
  kWindowSize,  // value: rows << 16 | columns, for the terminal of this connection
  kStart,       // starts the first process, with a file of what startContainer hooks read; reply
  kDetach,      // the owner goes, the sandbox stays; reply
  kExec,        // another process (EncodeExec), value: the host pid that stands for it; reply;
                // kExit when it ends
  kKill,        // value: the signal for the first process; reply
  kKillAll,     // likewise for all processes; reply
  kProcesses,   // reply: a line for each of the guest's processes (ProcessRow)
  kIsStarted,   // reply: value 1 if the first process was started, 2 if the container is frozen
  kFreeze,      // value: 1 makes its processes stand still, 0 lets them go on; reply
  kWait,        // kExit when the first process ends
  kWatch,       // kOom whenever a process was killed for want of memory; kExit as for kWait
  kUpdate,      // other limits (EncodeResources); reply
  kJoin,        // another container (EncodeJoin) in this sandbox; reply, with warnings as the body.
                // The connection stands for it from then on: its end is the container's, and kExit
                // comes when its first process ends
  // From the sandbox.
  kReady,  // kStart may come
  kDone,
  kReply,   // value and body as asked for
  kFailed,  // value: the exit status for the command; body: why
  kReport,  // body: text for standard error
  kExit,    // value: a wait status
  kOom,
};

struct ControlMessage {
  Control kind{};
  int32_t value = 0;
  std::string body;
  std::vector<base::UniqueFd> fds;
};

constexpr size_t kMaxControlBody = 4 << 20;

// What a process exits with that stands for one with this wait status.
constexpr int ExitCode(int32_t wait_status) {
  return (wait_status & 0x7f) != 0 ? 128 + (wait_status & 0x7f) : (wait_status >> 8) & 0xff;
}

// False: the other side is gone.
bool SendControl(int fd, Control kind, int32_t value = 0, std::string_view body = {},
                 std::span<const int> fds = {});
// Waits for a message. False: the connection is over, or holds something else.
bool ReceiveControl(int fd, ControlMessage* m);

// The body of kExec.
std::string EncodeExec(const ProcessSpec& process, const Streams& streams, std::vector<int>* fds);
bool DecodeExec(ControlMessage&& m, ProcessSpec* process, Streams* streams);

// The limits that programs of a container see, the body of kUpdate.
std::string EncodeResources(const Resources& r);
bool DecodeResources(const std::string& body, Resources* r);

// A container that becomes part of a running sandbox, the body of kJoin.
struct JoinRequest {
  std::string id, bundle, config;  // config: the text of config.json, without seccomp
  std::vector<abi::SockFilter> seccomp;
  std::string hostname;  // where that names none
  bool overlay = false;  // writes to the root stay in memory
  // Containers of the sandbox whose namespaces it shares; empty: it has its own.
  std::string pid_of, ipc_of, uts_of, user_of;
  Share machine;
  std::vector<GoferMountSpec> mounts;
  base::UniqueFd listen, gofer;
  Streams streams;
};
std::string EncodeJoin(const JoinRequest& request, std::vector<int>* fds);
bool DecodeJoin(ControlMessage&& m, JoinRequest* request);

}  // namespace runsc
