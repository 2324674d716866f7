#include "sentry/fs/synth/synth.h"

#include <algorithm>

namespace sentry {
namespace {

// The text is made at a read from the start and kept for the reads that follow (seq_file).
class SynthOpenFile final : public File {
 public:
  SynthOpenFile(base::Ref<SynthFile> file, uint32_t flags)
      : File({}, file, flags), file_(std::move(file)) {}

  base::Result<uint64_t> Read(IoBuffer& dst, uint64_t* offset, uint32_t rwf) override {
    std::string made;
    const bool again = *offset == 0 || !have_.load(std::memory_order_acquire);
    if (again) {
      if (!file_->read()) return abi::Errno::kEINVAL;
      made = TRY(file_->read()());
    }
    base::MutexLock lock(mu_);
    if (again) {
      text_.swap(made);
      have_.store(true, std::memory_order_release);
    }
    if (*offset >= text_.size()) return 0;
    const size_t want = std::min<size_t>(text_.size() - *offset, dst.remaining());
    size_t n = dst.CopyTo(text_.data() + *offset, want);
    if (n == 0 && want != 0) return abi::Errno::kEFAULT;
    *offset += n;
    return n;
  }

  base::Result<uint64_t> Write(IoBuffer& src, uint64_t* offset, uint32_t rwf) override {
    if (!file_->write()) return abi::Errno::kEIO;
    std::string text(std::min<size_t>(src.remaining(), 4096), '\0');
    size_t n = src.CopyFrom(text.data(), text.size());
    if (n != text.size()) return abi::Errno::kEFAULT;
    TRY(file_->write()(text));
    *offset += n;
    return n;
  }

 private:
  const base::Ref<SynthFile> file_;
  std::atomic<bool> have_{false};
  base::Mutex<base::LockClass::kInode> mu_;
  std::string text_ GUARDED_BY(mu_);
};

class SynthOpenDir final : public File {
 public:
  SynthOpenDir(base::Ref<SynthDir> dir, base::Ref<Dentry> dentry, uint32_t flags)
      : File({}, dir, flags), dir_(std::move(dir)), dentry_(std::move(dentry)) {}

  // pos: 0 ".", 1 "..", then cookies.
  base::Result<void> Iterate(DirSink& sink) NO_THREAD_SAFETY_ANALYSIS override {
    if (pos == 0) {
      if (!sink.Add({".", dir_->ino(), 4, 1})) return {};
      pos = 1;
    }
    if (pos == 1) {
      base::Ref<Dentry> parent = dentry_ ? dentry_->parent() : nullptr;
      if (!sink.Add({"..", parent ? parent->inode()->ino() : dir_->ino(), 4, 2})) return {};
      pos = 2;
    }
    std::vector<SynthDir::Entry> entries;
    TRY(dir_->List(static_cast<int64_t>(pos), &entries));
    for (const SynthDir::Entry& e : entries) {
      if (!sink.Add({e.name, e.ino, e.type, e.cookie})) return {};
      pos = static_cast<uint64_t>(e.cookie);
    }
    return {};
  }

 private:
  const base::Ref<SynthDir> dir_;
  const base::Ref<Dentry> dentry_;
};

}  // namespace

base::Result<FsStat> SynthSuperblock::Statfs() {
  FsStat s;
  s.type = magic_;
  return s;
}

base::Result<Kstat> SynthInode::Getattr() {
  Kstat k;
  k.dev = sb().dev();
  k.ino = ino();
  k.mode = mode_;
  k.nlink = nlink();
  k.uid = uid_;
  k.gid = gid_;
  k.blksize = 1024;
  k.atime = k.mtime = k.ctime = k.btime = Now();
  return k;
}

base::Result<base::Ref<File>> SynthFile::Open(const base::Ref<Dentry>& dentry,
                                              const OpenFlags& flags, const Creds& creds) {
  return base::Ref<File>(base::MakeRef<SynthOpenFile>(base::Ref<SynthFile>(this), flags.flags));
}

base::Result<void> SynthFile::Setattr(const Creds& creds, const SetAttr& a) {
  constexpr uint32_t kHarmless = SetAttr::kSize | SetAttr::kTruncateOpen | SetAttr::kMtime |
                                 SetAttr::kMtimeNow | SetAttr::kAtime | SetAttr::kAtimeNow;
  if ((a.mask & ~kHarmless) != 0) return abi::Errno::kEPERM;
  return {};
}

base::Result<base::Ref<File>> SynthDir::Open(const base::Ref<Dentry>& dentry,
                                             const OpenFlags& flags, const Creds& creds) {
  return base::Ref<File>(
      base::MakeRef<SynthOpenDir>(base::Ref<SynthDir>(this), dentry, flags.flags));
}

void SynthStaticDir::Add(std::string name, base::Ref<Inode> inode) {
  index_[name] = children_.size();
  children_.push_back({std::move(inode), std::move(name)});
}

void SynthStaticDir::AddFile(std::string name, uint32_t mode, SynthFile::ReadFn read,
                             SynthFile::WriteFn write) {
  Add(std::move(name), base::MakeRef<SynthFile>(base::Ref<Superblock>(&sb()), mode, sb().NextIno(),
                                                std::move(read), std::move(write)));
}

void SynthStaticDir::AddText(std::string name, std::string text) {
  AddFile(std::move(name), 0444,
          [text = std::move(text)]() -> base::Result<std::string> { return text; });
}

void SynthStaticDir::AddLink(std::string name, std::string target) {
  Add(std::move(name),
      base::MakeRef<SynthLink>(
          base::Ref<Superblock>(&sb()), sb().NextIno(),
          [target = std::move(target)]() -> base::Result<std::string> { return target; }));
}

base::Ref<SynthStaticDir> SynthStaticDir::AddDir(std::string name, uint32_t mode) {
  auto dir = base::MakeRef<SynthStaticDir>(base::Ref<Superblock>(&sb()), mode, sb().NextIno());
  Add(std::move(name), dir);
  return dir;
}

base::Result<base::Ref<Inode>> SynthStaticDir::Lookup(const Creds& creds, std::string_view name) {
  auto it = index_.find(name);
  if (it == index_.end()) return abi::Errno::kENOENT;
  return children_[it->second].inode;
}

base::Result<void> SynthStaticDir::List(int64_t after, std::vector<Entry>* out) {
  for (size_t i = after <= 2 ? 0 : static_cast<size_t>(after) - 2; i < children_.size(); i++) {
    out->push_back({children_[i].name, children_[i].inode->ino(),
                    abi::DtFromMode(children_[i].inode->type()), static_cast<int64_t>(i) + 3});
  }
  return {};
}

}  // namespace sentry
