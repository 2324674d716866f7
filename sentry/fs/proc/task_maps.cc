// /proc/[pid]/maps, smaps, mounts, mountinfo (fs/proc/task_mmu.c, fs/proc_namespace.c).
#include "sentry/fs/proc/task_dir.h"
#include "syscalls/abi/mount.h"

namespace sentry {
namespace proc {
namespace {

// new_encode_dev() split as maps and mountinfo print it.
uint32_t Major(uint64_t dev) { return static_cast<uint32_t>((dev >> 8) & 0xfff); }
uint32_t Minor(uint64_t dev) {
  return static_cast<uint32_t>((dev & 0xff) | ((dev >> 12) & 0xfff00));
}

// seq_path()'s escapes.
std::string Escape(std::string_view s, std::string_view special) {
  std::string out;
  for (char c : s) {
    if (special.find(c) != std::string_view::npos) {
      out += Format("\\%03o", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

void AppendVma(const Vma& v, std::string* out) {
  uint64_t dev = 0, ino = 0;
  std::string name;
  if (v.file) {
    File* f = static_cast<File*>(v.file.get());
    if (base::Result<Kstat> k = f->attr_inode().Getattr(); k.ok()) {
      dev = k->dev;
      ino = k->ino;
    }
    name = f->description();
    if (name.empty()) name = Escape(PathForReader(f->path()), "\n");
  } else if (v.special_name != nullptr) {
    name = v.special_name;
  } else if (v.shared) {
    name = "/dev/zero (deleted)";
  } else if (!v.anon_name.empty()) {
    name = "[anon:" + v.anon_name + "]";
  }
  std::string line = Format("%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", v.start, v.end,
                            (v.prot & platform::kProtRead) != 0 ? 'r' : '-',
                            (v.prot & platform::kProtWrite) != 0 ? 'w' : '-',
                            (v.prot & platform::kProtExec) != 0 ? 'x' : '-', v.shared ? 's' : 'p',
                            v.mappable ? v.offset : 0, Major(dev), Minor(dev), ino);
  if (!name.empty()) {
    if (line.size() < 73) line.resize(73, ' ');
    line += name;
  }
  *out += line + "\n";
}

struct Flag {
  uint32_t bit;
  const char* name;
};
constexpr Flag kMountFlags[] = {
    {abi::kMS_NOSUID, ",nosuid"},         {abi::kMS_NODEV, ",nodev"},
    {abi::kMS_NOEXEC, ",noexec"},         {abi::kMS_NOATIME, ",noatime"},
    {abi::kMS_NODIRATIME, ",nodiratime"}, {abi::kMS_RELATIME, ",relatime"}};

std::string MountOptions(const MountNamespace::Info& m) {
  std::string o = (m.flags & abi::kMS_RDONLY) != 0 ? "ro" : "rw";
  for (const Flag& f : kMountFlags) {
    if ((m.flags & f.bit) != 0) o += f.name;
  }
  return o;
}

constexpr std::string_view kSpaces = " \t\n\\";

std::vector<MountNamespace::Info> MountsOf(Task& t) {
  base::Ref<MountNamespace> ns = t.mounts_ref();
  base::Ref<FsContext> fs = t.fs_ref();
  if (!ns || !fs) return {};
  return ns->List(fs->root());
}

// Bytes of a range that the smaps files call resident: what usage() tells of the whole address
// space, shared out by size.
void AppendSmaps(const Vma& v, std::string* out) {
  const uint64_t kb = (v.end - v.start) / 1024;
  const uint64_t rss = v.prot == 0 ? 0 : kb;
  const bool anon = !v.mappable;
  *out += Format(
      "Size:           %8lu kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n", kb);
  *out += Format("Rss:            %8lu kB\nPss:            %8lu kB\nPss_Dirty:      %8lu kB\n", rss,
                 rss, anon ? rss : 0);
  *out += Format(
      "Shared_Clean:   %8lu kB\nShared_Dirty:   %8d kB\nPrivate_Clean:  %8d kB\nPrivate_Dirty:  "
      "%8lu kB\n",
      anon ? 0 : rss, 0, 0, anon ? rss : 0);
  *out += Format(
      "Referenced:     %8lu kB\nAnonymous:      %8lu kB\nKSM:                   0 kB\nLazyFree:    "
      "          0 kB\n",
      rss, anon ? rss : 0);
  *out +=
      "AnonHugePages:         0 kB\nShmemPmdMapped:        0 kB\nFilePmdMapped:         0 kB\n"
      "Shared_Hugetlb:        0 kB\nPrivate_Hugetlb:       0 kB\nSwap:                  0 "
      "kB\nSwapPss:               0 kB\n";
  *out += Format("Locked:         %8lu kB\nTHPeligible:           0\n", v.locked ? rss : 0);
  *out += std::string("VmFlags:") + ((v.prot & platform::kProtRead) != 0 ? " rd" : "") +
          ((v.prot & platform::kProtWrite) != 0 ? " wr" : "") +
          ((v.prot & platform::kProtExec) != 0 ? " ex" : "") + (v.shared ? " sh" : "") +
          " mr mw me" + (v.grows_down ? " gd" : "") + (v.locked ? " lo" : "") +
          (v.dont_fork ? " dc" : "") + (v.dont_dump ? " dd" : "") + (v.wipe_on_fork ? " wf" : "") +
          " \n";
}

}  // namespace

Text TaskMaps(Instance&, Task& t, bool) {
  std::string out;
  if (base::Ref<MemoryManager> mm = t.mm_ref()) {
    for (const Vma& v : mm->Vmas()) AppendVma(v, &out);
  }
  return out;
}

Text TaskSmaps(Instance&, Task& t, bool) {
  std::string out;
  if (base::Ref<MemoryManager> mm = t.mm_ref()) {
    for (const Vma& v : mm->Vmas()) {
      AppendVma(v, &out);
      AppendSmaps(v, &out);
    }
  }
  return out;
}

Text TaskSmapsRollup(Instance&, Task& t, bool) {
  base::Ref<MemoryManager> mm = t.mm_ref();
  if (!mm) return abi::Errno::kESRCH;
  std::vector<Vma> vmas = mm->Vmas();
  MemoryManager::Usage u = mm->usage();
  const uint64_t start = vmas.empty() ? 0 : vmas.front().start,
                 end = vmas.empty() ? 0 : vmas.back().end;
  const uint64_t rss = u.resident / 1024, shared = std::min(u.shared, u.resident) / 1024;
  std::string out =
      Format("%08lx-%08lx ---p 00000000 00:00 0                          [rollup]\n", start, end);
  out += Format(
      "Rss:            %8lu kB\nPss:            %8lu kB\nPss_Anon:       %8lu kB\nPss_File:       "
      "%8lu kB\n"
      "Shared_Clean:   %8lu kB\nShared_Dirty:          0 kB\nPrivate_Clean:         0 "
      "kB\nPrivate_Dirty:  %8lu kB\n"
      "Referenced:     %8lu kB\nAnonymous:      %8lu kB\nSwap:                  0 kB\nLocked:      "
      "   %8lu kB\n",
      rss, rss, rss - shared, shared, shared, rss - shared, rss, rss - shared, u.locked / 1024);
  return out;
}

Text TaskMounts(Instance&, Task& t, bool) {
  std::string out;
  for (const MountNamespace::Info& m : MountsOf(t)) {
    out += Escape(m.source, kSpaces) + " " + Escape(m.mountpoint, kSpaces) + " " + m.type + " " +
           MountOptions(m) + (m.sb_options.empty() ? "" : "," + m.sb_options) + " 0 0\n";
  }
  return out;
}

Text TaskMountinfo(Instance&, Task& t, bool) {
  std::string out;
  for (const MountNamespace::Info& m : MountsOf(t)) {
    out += Format("%lu %lu %u:%u ", m.id, m.parent_id, Major(m.dev), Minor(m.dev)) +
           Escape(m.root, kSpaces) + " " + Escape(m.mountpoint, kSpaces) + " " + MountOptions(m) +
           " - " + m.type + " " + Escape(m.source, kSpaces) + " " +
           ((m.flags & abi::kMS_RDONLY) != 0 ? "ro" : "rw") +
           (m.sb_options.empty() ? "" : "," + m.sb_options) + "\n";
  }
  return out;
}

Text TaskMountstats(Instance&, Task& t, bool) {
  std::string out;
  for (const MountNamespace::Info& m : MountsOf(t)) {
    out += "device " + m.source + " mounted on " + m.mountpoint + " with fstype " + m.type + "\n";
  }
  return out;
}

}  // namespace proc
}  // namespace sentry
