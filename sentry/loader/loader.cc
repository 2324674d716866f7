#include "sentry/loader/loader.h"

#include <cpuid.h>

#include <algorithm>
#include <cstring>

#include "platform/host/host.h"
#include "sentry/loader/elf.h"
#include "sentry/loader/vdso.h"
#include "sentry/vfs/file_caps.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/mount.h"
#include "syscalls/abi/resource.h"

namespace sentry {
namespace {

using platform::kProtExec;
using platform::kProtRead;
using platform::kProtWrite;

constexpr uint64_t kStackLimitDefault = 8 << 20;      // _STK_LIM
constexpr uint64_t kMaxArgString = 32 * kPageSize;    // MAX_ARG_STRLEN
constexpr uint64_t kInitialStack = 132 << 10;         // stack_expand and a page
constexpr uint64_t kStackRandom = uint64_t{1} << 34;  // STACK_RND_MASK pages
constexpr uint64_t kMmapRandom = uint64_t{1} << 40;   // mmap_rnd_bits = 28 pages
constexpr uint64_t kBrkRandom = 0x02000000;
constexpr int kMaxScripts = 5;

uint64_t RandomBelow(uint64_t bound) {
  uint64_t r;
  host::Random(&r, sizeof r);
  return PageDown(r % bound);
}

ReadAt Reader(File& file) {
  return [&file](uint64_t offset, void* dst, size_t n) -> base::Result<size_t> {
    size_t done = 0;
    while (done < n) {
      IoBuffer buf = IoBuffer::Kernel(static_cast<char*>(dst) + done, n - done);
      uint64_t at = offset + done;
      uint64_t got = TRY(file.Read(buf, &at, 0));
      if (got == 0) break;
      done += got;
    }
    return done;
  };
}

// do_open_execat(): a regular file on a mount that allows execution, with execute permission.
base::Result<base::Ref<File>> OpenFound(const TaskVfs& vfs, const Creds& creds, const Path& p) {
  base::Ref<Inode> inode = p.dentry->inode();
  if (!inode) return abi::Errno::kENOENT;
  if (!inode->is_reg() || (p.mount->flags() & abi::kMS_NOEXEC) != 0) return abi::Errno::kEACCES;
  TRY(inode->Permission(creds, kMayExec));
  // Reading is the kernel's business here: no read permission needed.
  base::Ref<File> file = TRY(inode->Open(p.dentry, OpenFlags{abi::kO_RDONLY, 0}, creds));
  file->set_path(p);
  file->set_flags(abi::kO_RDONLY);
  file->set_creds(base::Ref<const Creds>(&creds));
  TRY(file->DenyWrite());
  return file;
}

base::Result<base::Ref<File>> OpenExec(const TaskVfs& vfs, const Creds& creds,
                                       std::string_view name) {
  VfsContext ctx{creds, vfs.root, vfs.cwd, *vfs.mounts, vfs.umask, vfs.task};
  Path p = TRY(Vfs::Resolve(ctx, nullptr, name, {}));
  return OpenFound(vfs, creds, p);
}

// execveat(2) with AT_EMPTY_PATH: the object behind a descriptor.
base::Result<base::Ref<File>> ReopenExec(const TaskVfs& vfs, const Creds& creds,
                                         const base::Ref<File>& file) {
  if (file->path() && file->path().mount) return OpenFound(vfs, creds, file->path());
  Inode& inode = *file->inode();
  if (!inode.is_reg()) return abi::Errno::kEACCES;
  TRY(inode.Permission(creds, kMayExec));
  return file;
}

base::Result<void> MapSegment(MemoryManager& mm, const base::Ref<File>& file, const ElfSegment& s,
                              uint64_t bias) {
  uint64_t start = PageDown(s.vaddr + bias);
  uint64_t file_end = s.vaddr + bias + s.filesz, end = s.vaddr + bias + s.memsz;
  uint64_t mapped = start;
  if (s.filesz != 0) {
    uint64_t head = (s.vaddr + bias) - start;
    MmapArgs a;
    a.addr = start;
    a.fixed = true;
    a.len = PageUp(s.filesz + head);
    a.prot = s.prot;
    a.offset = s.offset - head;
    auto object = file->Mmap(a.offset, a.len, a.prot, false);
    if (!object.ok()) return object.is(abi::Errno::kENODEV) ? abi::Errno::kENOEXEC : object.error();
    a.mappable = std::move(*object);
    a.file = file;
    TRY(mm.Mmap(a));
    mapped = start + a.len;
  }
  if (s.memsz <= s.filesz) return {};
  // What follows the file's bytes in their last page is zero; a read-only page stays as it is.
  if (mapped > file_end && s.filesz != 0 && (s.prot & kProtWrite)) {
    uint64_t n = std::min(mapped, PageUp(end)) - file_end;
    if (mm.ZeroPartial(UserAddr{file_end}, n) != n) return abi::Errno::kEFAULT;
  }
  if (PageUp(end) > mapped) {
    MmapArgs a;
    a.addr = mapped;
    a.fixed = true;
    a.len = PageUp(end) - mapped;
    a.prot = s.prot;
    TRY(mm.Mmap(a));
  }
  return {};
}

// Maps all segments of an image at base (of image.low). bias: what to add to its addresses.
base::Result<void> MapImage(MemoryManager& mm, const base::Ref<File>& file, const ElfImage& image,
                            uint64_t bias) {
  for (const ElfSegment& s : image.segments) TRY(MapSegment(mm, file, s, bias));
  return {};
}

// Where an image goes: hint 0 lets the address space choose. Returns the bias.
base::Result<uint64_t> PlaceImage(MemoryManager& mm, const ElfImage& image, uint64_t hint) {
  uint64_t span = image.high - image.low, slack = image.align > kPageSize ? image.align : 0;
  MmapArgs a;
  a.addr = hint;
  a.len = span + slack;
  a.prot = platform::kProtNone;
  uint64_t base = TRY(mm.Mmap(a));
  TRY(mm.Munmap(base, a.len));
  // The image's addresses keep their residue modulo the alignment.
  uint64_t bias = base - image.low;
  if (slack != 0) bias += (image.align - bias % image.align) % image.align;
  return bias;
}

uint64_t Hwcap() {
  uint32_t a, b, c, d = 0;
  __get_cpuid(1, &a, &b, &c, &d);
  return d;
}

struct Program {
  base::Ref<File> file;
  ElfImage image;
  std::vector<std::string> argv;
};

// Follows scripts to the ELF image that runs.
base::Result<Program> FindProgram(const TaskVfs& vfs, const Creds& creds, const ExecArgs& args,
                                  uint64_t limit) {
  Program p;
  p.file =
      args.file ? TRY(ReopenExec(vfs, creds, args.file)) : TRY(OpenExec(vfs, creds, args.filename));
  p.argv = args.argv;
  // Linux gives a program that was called without any argument an empty one.
  if (p.argv.empty()) p.argv.push_back("");
  std::string name = args.filename;
  for (int depth = 0;; depth++) {
    if (depth > kMaxScripts) return abi::Errno::kELOOP;
    char head[256] = {};
    ReadAt read = Reader(*p.file);
    size_t n = TRY(read(0, head, sizeof head));
    if (n < 2 || head[0] != '#' || head[1] != '!') {
      p.image = TRY(ParseElf(read, abi::Errno::kENOEXEC, limit));
      return p;
    }
    ScriptLine line = TRY(ParseScript(std::string_view(head, n)));
    p.argv.erase(p.argv.begin());
    p.argv.insert(p.argv.begin(), name);
    if (line.has_argument) p.argv.insert(p.argv.begin(), line.argument);
    p.argv.insert(p.argv.begin(), line.interpreter);
    p.file = TRY(OpenExec(vfs, creds, line.interpreter));
    name = line.interpreter;
  }
}

// get_vfs_caps_from_disk(): the capabilities of a file, as far as they count in creds' namespace.
void ReadFileCaps(Inode& inode, const Creds& creds, Kernel::LoadedImage* out) {
  base::Result<std::string> x = inode.Getxattr(kFileCaps);
  if (!x.ok()) return;
  const auto word = [&](size_t i) {
    uint32_t v = 0;
    memcpy(&v, x->data() + i * 4, sizeof v);
    return v;
  };
  if (x->size() < 4) return;
  const uint32_t magic = word(0), revision = magic & abi::kVFS_CAP_REVISION_MASK;
  const size_t words = x->size() / 4;
  uint32_t root = 0;
  CapSet permitted, inheritable;
  if (revision == abi::kVFS_CAP_REVISION_1 && x->size() == 12) {
    permitted = word(1);
    inheritable = word(2);
  } else if ((revision == abi::kVFS_CAP_REVISION_2 && x->size() == 20) ||
             (revision == abi::kVFS_CAP_REVISION_3 && x->size() == 24)) {
    permitted = word(1) | CapSet{word(3)} << 32;
    inheritable = word(2) | CapSet{word(4)} << 32;
    if (words == 6) root = word(5);
  } else {
    return;
  }
  // rootid_owns_currentns().
  bool owns = false;
  for (const UserNamespace* ns = creds.user_ns.get(); ns != nullptr; ns = ns->parent().get())
    owns = owns || ns->UidFromGlobal(root) == 0;
  if (!owns) return;
  any_file_caps.store(true, std::memory_order_relaxed);
  out->has_caps = true;
  out->caps_effective = (magic & abi::kVFS_CAP_FLAGS_EFFECTIVE) != 0;
  out->caps_permitted = permitted & abi::kCapFullSet;
  out->caps_inheritable = inheritable & abi::kCapFullSet;
}

// bprm_stack_limits() and copy_strings(): E2BIG.
base::Result<void> CheckArgs(const Program& p, const ExecArgs& args, uint64_t stack_limit) {
  uint64_t limit = std::min(kStackLimitDefault / 4 * 3, stack_limit / 4);
  limit = std::max(limit, kMaxArgString);  // ARG_MAX
  uint64_t used = (p.argv.size() + args.envp.size()) * 8 + args.filename.size() + 1;
  for (const auto* list : {&p.argv, &args.envp}) {
    for (const std::string& s : *list) {
      if (s.size() >= kMaxArgString) return abi::Errno::kE2BIG;
      used += s.size() + 1;
    }
  }
  if (used >= limit) return abi::Errno::kE2BIG;
  return {};
}

}  // namespace

base::Result<Kernel::LoadedImage> LoadProgram(Kernel& k, const TaskVfs& vfs, const ExecArgs& args,
                                              const Creds& creds, bool no_new_privs,
                                              const Limits& limits) {
  const platform::UserRange range = k.platform().user_range();
  Program p = TRY(FindProgram(vfs, creds, args, range.max));
  const uint64_t stack_limit = limits.Get(abi::kRLIMIT_STACK).cur;
  TRY(CheckArgs(p, args, stack_limit));
  base::Ref<File> interp_file;
  ElfImage interp;
  if (!p.image.interpreter.empty()) {
    interp_file = TRY(OpenExec(vfs, creds, p.image.interpreter));
    interp = TRY(ParseElf(Reader(*interp_file), abi::Errno::kELIBBAD, range.max));
  }

  Kernel::LoadedImage out;
  out.mm = TRY(MemoryManager::Create(k.platform()));
  MemoryManager& mm = *out.mm;
  mm.limits.as = limits.Get(abi::kRLIMIT_AS).cur;
  mm.limits.data = limits.Get(abi::kRLIMIT_DATA).cur;
  mm.limits.stack = stack_limit;
  mm.limits.memlock = limits.Get(abi::kRLIMIT_MEMLOCK).cur;

  // The layout of arch_pick_mmap_layout(): the stack at the top, mappings downwards below the room
  // that it may take.
  uint64_t stack_top = PageDown(range.max) - RandomBelow(kStackRandom);
  uint64_t gap = stack_limit;
  uint64_t pad = kStackRandom + (1 << 20);
  if (gap + pad > gap) gap += pad;
  gap = std::clamp(gap, uint64_t{128} << 20, range.max / 6 * 5);
  mm.SetMmapBase(range.max - gap - RandomBelow(kMmapRandom));

  uint64_t bias = 0;
  if (p.image.dynamic) {
    uint64_t hint = interp_file ? PageDown(range.max / 3 * 2) + RandomBelow(kMmapRandom) : 0;
    bias = TRY(PlaceImage(mm, p.image, hint));
  } else if (p.image.low < range.min || p.image.high > range.max) {
    return p.image.low < range.min ? abi::Errno::kEPERM : abi::Errno::kENOMEM;
  }
  TRY(MapImage(mm, p.file, p.image, bias));
  uint64_t entry = p.image.entry + bias, interp_base = 0;
  if (interp_file) {
    if (interp.dynamic) {
      interp_base = TRY(PlaceImage(mm, interp, 0));
    } else if (interp.low < range.min || interp.high > range.max) {
      return abi::Errno::kENOMEM;
    }
    TRY(MapImage(mm, interp_file, interp, interp_base));
    interp_file->AllowWrite();
    out.regs = {};
    out.regs.rip = interp.entry + interp_base;
  } else {
    out.regs = {};
    out.regs.rip = entry;
  }
  if (out.regs.rip >= range.max || entry >= range.max) return abi::Errno::kEINVAL;

  uint64_t brk = PageUp(p.image.brk + bias);
  // A program without interpreter lies among the mappings: its heap grows elsewhere.
  if (p.image.dynamic && !interp_file) brk = PageDown(range.max / 3 * 2);
  brk += RandomBelow(kBrkRandom);
  mm.InitBrk(brk);
  uint64_t vdso = TRY(MapVdso(mm, k.platform(), k.cpu_count()));

  // Identity after set-user-ID and set-group-ID (bprm_fill_uid()).
  Inode& inode = p.file->attr_inode();
  Inode::Perm perm = inode.perm();
  uint32_t euid = creds.euid, egid = creds.egid;
  const bool nosuid_mount =
      p.file->path().mount && (p.file->path().mount->flags() & abi::kMS_NOSUID) != 0;
  const bool nosuid = no_new_privs || nosuid_mount;
  if (!nosuid && creds.user_ns) {
    bool known = creds.user_ns->UidFromGlobal(perm.uid) != UINT32_MAX &&
                 creds.user_ns->GidFromGlobal(perm.gid) != UINT32_MAX;
    if (known && (perm.mode & abi::kS_ISUID) != 0) {
      out.set_uid = true;
      out.uid = euid = perm.uid;
    }
    if (known && (perm.mode & (abi::kS_ISGID | abi::kS_IXGRP)) == (abi::kS_ISGID | abi::kS_IXGRP)) {
      out.set_gid = true;
      out.gid = egid = perm.gid;
    }
  }
  if (!nosuid_mount && creds.user_ns) ReadFileCaps(inode, creds, &out);
  // bprm_caps_from_vfs_caps(): a program that knows nothing of capabilities must get all of its
  // own.
  const CapSet granted =
      (creds.bounding & out.caps_permitted) | (creds.inheritable & out.caps_inheritable);
  if (out.caps_effective && (out.caps_permitted & ~granted) != 0) return abi::Errno::kEPERM;
  const uint32_t root = creds.user_ns ? creds.user_ns->UidToGlobal(0) : 0;
  out.secure = euid != creds.uid || egid != creds.gid ||
               (creds.uid != root && (out.caps_effective || granted != 0));
  auto shown_uid = [&](uint32_t id) {
    uint32_t v = creds.user_ns ? creds.user_ns->UidFromGlobal(id) : id;
    return v == UINT32_MAX ? kOverflowId : v;
  };
  auto shown_gid = [&](uint32_t id) {
    uint32_t v = creds.user_ns ? creds.user_ns->GidFromGlobal(id) : id;
    return v == UINT32_MAX ? kOverflowId : v;
  };

  StackArgs sa;
  sa.argv = std::move(p.argv);
  sa.envp = args.envp;
  sa.filename = args.filename;
  host::Random(sa.random, sizeof sa.random);
  auto aux = [&](int32_t type, uint64_t value) {
    sa.auxv.push_back(static_cast<uint64_t>(type));
    sa.auxv.push_back(value);
  };
  aux(abi::kAT_SYSINFO_EHDR, vdso);
  aux(abi::kAT_MINSIGSTKSZ, k.platform().fp_size() + 976);  // the rest of a signal frame
  aux(abi::kAT_HWCAP, Hwcap());
  aux(abi::kAT_PAGESZ, kPageSize);
  aux(abi::kAT_CLKTCK, 100);
  aux(abi::kAT_PHDR, p.image.phdr == 0 ? 0 : p.image.phdr + bias);
  aux(abi::kAT_PHENT, sizeof(abi::Elf64Phdr));
  aux(abi::kAT_PHNUM, p.image.phnum);
  aux(abi::kAT_BASE, interp_base);
  aux(abi::kAT_FLAGS, 0);
  aux(abi::kAT_ENTRY, entry);
  aux(abi::kAT_UID, shown_uid(creds.uid));
  aux(abi::kAT_EUID, shown_uid(euid));
  aux(abi::kAT_GID, shown_gid(creds.gid));
  aux(abi::kAT_EGID, shown_gid(egid));
  aux(abi::kAT_SECURE, out.secure ? 1 : 0);
  aux(abi::kAT_RANDOM, 0);
  aux(abi::kAT_HWCAP2, host::Hwcap2() & 2);  // FSGSBASE
  aux(abi::kAT_EXECFN, 0);
  aux(abi::kAT_PLATFORM, 0);
  aux(abi::kAT_NULL, 0);
  StackImage stack = BuildStack(stack_top, sa);

  MmapArgs a;
  a.len = PageUp(stack.bytes.size()) + kInitialStack;
  if (a.len > std::max(stack_limit, PageUp(stack.bytes.size()) + kPageSize)) {
    a.len = std::max(PageDown(stack_limit), PageUp(stack.bytes.size()) + kPageSize);
  }
  a.addr = stack_top - a.len;
  a.fixed = true;
  a.prot = kProtRead | kProtWrite | (p.image.exec_stack ? kProtExec : 0);
  a.grows_down = true;
  a.special_name = "[stack]";
  TRY(mm.Mmap(a));
  TRY(mm.CopyOut(UserAddr{stack.sp}, stack.bytes.data(), stack.bytes.size()));

  MemoryManager::Layout layout;
  layout.start_code = p.image.start_code + bias;
  layout.end_code = p.image.end_code + bias;
  layout.start_data = p.image.start_data + bias;
  layout.end_data = p.image.end_data + bias;
  layout.start_stack = stack.sp;
  layout.arg_start = stack.arg_start;
  layout.arg_end = stack.arg_end;
  layout.env_start = stack.env_start;
  layout.env_end = stack.env_end;
  layout.vdso = vdso;
  layout.auxv = std::move(stack.auxv);
  mm.set_layout(std::move(layout));
  mm.set_exe(p.file);
  // would_dump(): a program that its user may not read is not shown to him in a dump either.
  mm.dumpable = !out.secure && inode.Permission(creds, kMayRead).ok();

  out.regs.rsp = stack.sp;
  out.regs.eflags = platform::kFixedEflags;
  out.regs.cs = platform::kUserCs;
  out.regs.ss = platform::kUserSs;
  out.regs.orig_rax = UINT64_MAX;
  out.executable = std::move(p.file);
  size_t slash = args.filename.rfind('/');
  out.comm = args.filename.substr(slash == std::string::npos ? 0 : slash + 1, 15);
  return out;
}

}  // namespace sentry
