// Namespaces as files (fs/nsfs.c): what opening /proc/[pid]/ns/NAME gives, for setns(2) and
// ioctl_ns(2).
#pragma once

#include "sentry/kernel/kernel.h"
#include "sentry/vfs/file.h"

namespace sentry {

class NamespaceFile : public File {
 public:
  static constexpr char kKind = 0;
  struct Kind {
    const char* name;  // of the link in /proc/[pid]/ns
    uint64_t type;     // CLONE_NEW*
  };
  static std::span<const Kind> Kinds();

  struct Ns {
    Kind kind;
    // A MountNamespace, UtsNamespace and so on; kinds of which there is one only (cgroup, time)
    // stand for themselves by the initial user namespace. Null: the task has none any more.
    base::Ref<base::RefCounted> object;
    base::Ref<UserNamespace> owner;
    // Equal for equal objects.
    uint32_t number() const;
    std::string text() const;  // "uts:[4026531840]"
  };
  static Ns Of(Task& t, const Kind& kind);
  static base::Ref<Inode> NewInode(const Ns& ns);
  static base::Ref<NamespaceFile> Make(const Ns& ns, uint32_t flags);

  NamespaceFile(base::Ref<Inode> inode, Ns ns, uint32_t flags)
      : File(Path(), std::move(inode), flags), ns_(std::move(ns)) {}
  const Ns& ns() const { return ns_; }

  const void* kind() const override { return &kKind; }
  base::Result<uint64_t> Ioctl(Task& task, uint32_t cmd, UserAddr arg) override;
  std::string description() override { return ns_.text(); }
  base::Result<base::Ref<File>> Reopen(const OpenFlags& how) override;

 private:
  const Ns ns_;
};

}  // namespace sentry
