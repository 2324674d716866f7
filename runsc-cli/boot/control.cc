#include "runsc-cli/boot/control.h"

#include <cstring>

#include "platform/host/host.h"

namespace runsc {
namespace {

struct Header {
  uint32_t kind;
  int32_t value;
  uint32_t body;
};

constexpr size_t kChunk = 64 << 10;
constexpr size_t kMaxFds = 128;

// A process as a string of numbers and counted strings.
class Writer {
 public:
  void Number(uint64_t v) { out_.append(reinterpret_cast<const char*>(&v), sizeof v); }
  void Text(const std::string& s) {
    Number(s.size());
    out_ += s;
  }
  void Texts(const std::vector<std::string>& v) {
    Number(v.size());
    for (const std::string& s : v) Text(s);
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  uint64_t Number() {
    uint64_t v = 0;
    if (in_.size() < sizeof v) {
      ok_ = false;
      return 0;
    }
    memcpy(&v, in_.data(), sizeof v);
    in_.remove_prefix(sizeof v);
    return v;
  }
  // A number of things that take at least a byte each.
  uint64_t Count() {
    uint64_t n = Number();
    if (n > in_.size()) ok_ = false;
    return ok_ ? n : 0;
  }
  std::string Text() {
    uint64_t n = Count();
    std::string s(in_.substr(0, n));
    in_.remove_prefix(n);
    return s;
  }
  std::vector<std::string> Texts() {
    std::vector<std::string> v;
    for (uint64_t n = Count(); n > 0 && ok_; n--) v.push_back(Text());
    return v;
  }
  bool ok() const { return ok_; }

 private:
  std::string_view in_;
  bool ok_ = true;
};

void WriteStreams(const Streams& s, Writer* w, std::vector<int>* fds) {
  auto descriptor = [&](const base::UniqueFd& fd) {
    w->Number(fd.valid());
    if (fd.valid()) fds->push_back(fd.get());
  };
  for (int i = 0; i < 3; i++) {
    descriptor(s.stdio[i]);
    w->Number(s.terminal[i]);
  }
  descriptor(s.console_in);
  descriptor(s.console_out);
  w->Number(s.rows);
  w->Number(s.columns);
  w->Number(s.extra.size());
  for (const base::UniqueFd& fd : s.extra) fds->push_back(fd.get());
}

// fds: all of them are the streams'.
bool ReadStreams(Reader* r, std::vector<base::UniqueFd>& fds, Streams* s) {
  size_t next = 0;
  bool complete = true;
  auto descriptor = [&](base::UniqueFd* fd) {
    if (r->Number() == 0) return;
    complete = complete && next < fds.size();
    if (complete) *fd = std::move(fds[next++]);
  };
  for (int i = 0; i < 3; i++) {
    descriptor(&s->stdio[i]);
    s->terminal[i] = r->Number() != 0;
  }
  descriptor(&s->console_in);
  descriptor(&s->console_out);
  s->rows = static_cast<uint16_t>(r->Number());
  s->columns = static_cast<uint16_t>(r->Number());
  const uint64_t extra = r->Number();
  complete = complete && extra == fds.size() - next;
  for (; complete && next < fds.size(); next++) s->extra.push_back(std::move(fds[next]));
  return complete;
}

}  // namespace

bool SendControl(int fd, Control kind, int32_t value, std::string_view body,
                 std::span<const int> fds) {
  const Header h{static_cast<uint32_t>(kind), value, static_cast<uint32_t>(body.size())};
  if (host::SendWithFds(fd, &h, sizeof h, fds, 0) != static_cast<long>(sizeof h)) return false;
  for (size_t at = 0; at < body.size(); at += kChunk) {
    const std::string_view part = body.substr(at, kChunk);
    if (host::SendWithFds(fd, part.data(), part.size(), {}, 0) != static_cast<long>(part.size()))
      return false;
  }
  return true;
}

bool ReceiveControl(int fd, ControlMessage* m) {
  Header h;
  base::UniqueFd fds[kMaxFds];
  size_t n_fds = 0;
  long n;
  do {
    n = host::RecvWithFds(fd, &h, sizeof h, fds, &n_fds, 0);
  } while (n == -EINTR);
  if (n != static_cast<long>(sizeof h) || h.body > kMaxControlBody) return false;
  m->kind = static_cast<Control>(h.kind);
  m->value = h.value;
  m->fds.clear();
  for (size_t i = 0; i < n_fds; i++) m->fds.push_back(std::move(fds[i]));
  m->body.resize(h.body);
  for (size_t at = 0; at < m->body.size(); at += static_cast<size_t>(n)) {
    do {
      n = host::RecvWithFds(fd, m->body.data() + at, m->body.size() - at, {}, &n_fds, 0);
    } while (n == -EINTR);
    if (n <= 0) return false;
  }
  return true;
}

std::string EncodeExec(const ProcessSpec& p, const Streams& s, std::vector<int>* fds) {
  Writer w;
  w.Texts(p.args);
  w.Texts(p.env);
  w.Text(p.cwd);
  for (uint64_t v : {uint64_t{p.uid}, uint64_t{p.gid}, uint64_t{p.umask}, p.caps_bounding,
                     p.caps_effective, p.caps_inheritable, p.caps_permitted, p.caps_ambient,
                     uint64_t{p.no_new_privs}, uint64_t(p.oom_score_adj.value_or(0))}) {
    w.Number(v);
  }
  w.Number(p.groups.size());
  for (uint32_t g : p.groups) w.Number(g);
  w.Number(p.rlimits.size());
  for (const RlimitSpec& l : p.rlimits) {
    w.Number(static_cast<uint64_t>(l.resource));
    w.Number(l.soft);
    w.Number(l.hard);
  }
  WriteStreams(s, &w, fds);
  return w.Take();
}

bool DecodeExec(ControlMessage&& m, ProcessSpec* p, Streams* s) {
  Reader r(m.body);
  p->args = r.Texts();
  p->env = r.Texts();
  p->cwd = r.Text();
  p->uid = static_cast<uint32_t>(r.Number());
  p->gid = static_cast<uint32_t>(r.Number());
  p->umask = static_cast<uint32_t>(r.Number());
  for (uint64_t* caps : {&p->caps_bounding, &p->caps_effective, &p->caps_inheritable,
                         &p->caps_permitted, &p->caps_ambient}) {
    *caps = r.Number();
  }
  p->no_new_privs = r.Number() != 0;
  p->oom_score_adj = static_cast<int32_t>(r.Number());
  for (uint64_t n = r.Count(); n > 0 && r.ok(); n--)
    p->groups.push_back(static_cast<uint32_t>(r.Number()));
  for (uint64_t n = r.Count(); n > 0 && r.ok(); n--) {
    const int resource = static_cast<int>(r.Number());
    const uint64_t soft = r.Number();
    p->rlimits.push_back({resource, soft, r.Number()});
  }
  return ReadStreams(&r, m.fds, s) && r.ok() && !p->args.empty();
}

std::string EncodeResources(const Resources& r) {
  Writer w;
  auto number = [&w](const auto& n) {
    w.Number(n.has_value());
    w.Number(static_cast<uint64_t>(n.value_or(0)));
  };
  number(r.memory_limit);
  number(r.memory_swap);
  number(r.memory_reservation);
  number(r.cpu_shares);
  number(r.cpu_period);
  number(r.cpu_quota);
  number(r.pids_limit);
  w.Text(r.cpus);
  w.Text(r.mems);
  return w.Take();
}

bool DecodeResources(const std::string& body, Resources* r) {
  Reader in(body);
  auto number = [&in]<typename T>(std::optional<T>* n) {
    const bool present = in.Number() != 0;
    const uint64_t value = in.Number();
    if (present) *n = static_cast<T>(value);
  };
  number(&r->memory_limit);
  number(&r->memory_swap);
  number(&r->memory_reservation);
  number(&r->cpu_shares);
  number(&r->cpu_period);
  number(&r->cpu_quota);
  number(&r->pids_limit);
  r->cpus = in.Text();
  r->mems = in.Text();
  return in.ok();
}

std::string EncodeJoin(const JoinRequest& q, std::vector<int>* fds) {
  Writer w;
  for (const std::string* text :
       {&q.id, &q.bundle, &q.config, &q.hostname, &q.pid_of, &q.ipc_of, &q.uts_of, &q.user_of})
    w.Text(*text);
  w.Number(q.overlay);
  w.Number(static_cast<uint64_t>(q.machine.cpus));
  w.Number(q.machine.memory_bytes);
  w.Number(q.mounts.size());
  for (const GoferMountSpec& m : q.mounts) {
    w.Text(m.destination);
    w.Number(m.flags);
    w.Number(m.is_file);
  }
  w.Text(std::string(reinterpret_cast<const char*>(q.seccomp.data()),
                     q.seccomp.size() * sizeof(abi::SockFilter)));
  fds->push_back(q.listen.get());
  fds->push_back(q.gofer.get());
  WriteStreams(q.streams, &w, fds);
  return w.Take();
}

bool DecodeJoin(ControlMessage&& m, JoinRequest* q) {
  Reader r(m.body);
  for (std::string* text : {&q->id, &q->bundle, &q->config, &q->hostname, &q->pid_of, &q->ipc_of,
                            &q->uts_of, &q->user_of})
    *text = r.Text();
  q->overlay = r.Number() != 0;
  q->machine.cpus = static_cast<int>(r.Number());
  q->machine.memory_bytes = r.Number();
  for (uint64_t n = r.Count(); n > 0 && r.ok(); n--) {
    GoferMountSpec mount;
    mount.destination = r.Text();
    mount.flags = static_cast<uint32_t>(r.Number());
    mount.is_file = r.Number() != 0;
    q->mounts.push_back(std::move(mount));
  }
  const std::string seccomp = r.Text();
  if (const size_t n = seccomp.size() / sizeof(abi::SockFilter); n > 0) {
    q->seccomp.resize(n);
    memcpy(q->seccomp.data(), seccomp.data(), n * sizeof(abi::SockFilter));
  }
  if (m.fds.size() < 2) return false;
  q->listen = std::move(m.fds[0]);
  q->gofer = std::move(m.fds[1]);
  m.fds.erase(m.fds.begin(), m.fds.begin() + 2);
  return ReadStreams(&r, m.fds, &q->streams) && r.ok() && q->machine.cpus > 0 && !q->mounts.empty();
}

}  // namespace runsc
