// What a command does while a process of a sandbox runs in its place: passes signals and the
// terminal's size on, prints what the sandbox reports, and ends with the process's status.
#pragma once

#include <termios.h>

#include "platform/base/fd.h"
#include "platform/base/status.h"
#include "runsc-cli/boot/streams.h"

namespace runsc {

class Relay {
 public:
  Relay() = default;
  Relay(const Relay&) = delete;
  // Puts the terminal back as it was.
  ~Relay();

  // From here on signals to this process wait for Run().
  base::Status HoldSignals();
  // The caller's streams for the process. terminal: those of them that are one become the guest's
  // terminal.
  Streams CallerStreams(bool terminal);
  // tty is a terminal whose size is passed on, and which is put into raw mode by Run() if raw is
  // set: the guest's own terminal does the line editing.
  void FollowTerminal(int tty, bool raw);
  // After kExec or kJoin: waits for its answer. The process may end before that is read: then
  // ended(), and *status is set. *text, if not null: what came with the answer.
  base::Status AwaitStart(int connection, int* status, std::string* text = nullptr);
  bool ended() const { return ended_; }
  int signals() const { return signals_.get(); }
  // Until the connection's process has ended, or the connection. *status: what the command shall
  // exit with, unless the connection ended before (then it stays as it was). Messages went to
  // standard error.
  void Run(int connection, int* status);

 private:
  bool Handle(int connection, int* status);
  void SendWindowSize(int connection);

  base::UniqueFd signals_;
  int tty_ = -1;
  bool raw_wanted_ = false, raw_ = false, ended_ = false;
  termios saved_{};
};

}  // namespace runsc
