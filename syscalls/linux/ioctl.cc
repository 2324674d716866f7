// ioctl(2): the requests that every file knows, then the file's own (fs/ioctl.c).
#include "syscalls/abi/ioctl.h"

#include "syscalls/abi/socket.h"
#include "syscalls/linux/file_util.h"
#include "syscalls/linux/gaps.h"
#include "syscalls/linux/sys.h"

namespace syscalls {

using sentry::File;

namespace {

base::Result<uint64_t> DoIoctl(Task& task, int32_t fd, uint32_t cmd, uint64_t arg) {
  base::Ref<File> f = TRY(task.fds().Get(fd));
  const UserAddr ptr{arg};
  switch (cmd) {
    case abi::kFIOCLEX:
      TRY(task.fds().set_cloexec(fd, true));
      return uint64_t{0};
    case abi::kFIONCLEX:
      TRY(task.fds().set_cloexec(fd, false));
      return uint64_t{0};
    case abi::kFIONBIO: {
      int32_t on = TRY(UserIn<int32_t>{ptr}.Fetch(task.mm()));
      const uint32_t old = f->flags();
      f->set_flags(on != 0 ? old | abi::kO_NONBLOCK : old & ~uint32_t{abi::kO_NONBLOCK});
      return uint64_t{0};
    }
    case abi::kFIOASYNC: {
      int32_t on = TRY(UserIn<int32_t>{ptr}.Fetch(task.mm()));
      // ioctl_fioasync().
      const uint32_t old = f->flags();
      if ((on != 0) != ((old & abi::kFASYNC) != 0)) {
        if (!f->signals_io()) return abi::Errno::kENOTTY;
        TRY(SetAsync(fd, *f, on != 0));
      }
      f->set_flags(on != 0 ? old | abi::kFASYNC : old & ~uint32_t{abi::kFASYNC});
      return uint64_t{0};
    }
    case abi::kFIOSETOWN:
    case abi::kSIOCSPGRP:
      if (f->attr_inode().type() != abi::kS_IFSOCK) break;
      TRY(SetOwner(task, *f, TRY(UserIn<int32_t>{ptr}.Fetch(task.mm()))));
      return uint64_t{0};
    case abi::kFIOGETOWN:
    case abi::kSIOCGPGRP:
      if (f->attr_inode().type() != abi::kS_IFSOCK) break;
      TRY(UserOut<int32_t>{ptr}.Store(task.mm(), static_cast<int32_t>(GetOwner(task, *f))));
      return uint64_t{0};
    case abi::kFIOQSIZE: {
      sentry::Inode& i = f->attr_inode();
      if (!i.is_reg() && !i.is_dir() && !i.is_symlink()) return abi::Errno::kENOTTY;
      const int64_t size = static_cast<int64_t>(TRY(i.Getattr()).size);
      TRY(task.mm().CopyOut(ptr, &size, sizeof size));
      return uint64_t{0};
    }
    case abi::kFIGETBSZ: {
      const int32_t size = static_cast<int32_t>(TRY(f->attr_inode().Getattr()).blksize);
      TRY(UserOut<int32_t>{ptr}.Store(task.mm(), size));
      return uint64_t{0};
    }
    case abi::kFICLONE:
    case abi::kFICLONERANGE:
    case abi::kFIDEDUPERANGE:
      return abi::Errno::kEOPNOTSUPP;
    case abi::kFIFREEZE:
    case abi::kFITHAW:
      return abi::Errno::kEPERM;
    case abi::kFIONREAD:
      if (f->attr_inode().is_reg() && f->seekable()) {
        const uint64_t size = TRY(f->attr_inode().Getattr()).size;
        base::MutexLock l(f->pos_mu);
        const int64_t left = static_cast<int64_t>(size) - static_cast<int64_t>(f->pos);
        TRY(UserOut<int32_t>{ptr}.Store(task.mm(), static_cast<int32_t>(left)));
        return uint64_t{0};
      }
      break;
    default:
      break;
  }
  base::Result<uint64_t> r = f->Ioctl(task, cmd, ptr);
  if (r.is(abi::Errno::kENOTTY)) TrackGap(Sys::ioctl, cmd);
  return r;
}

}  // namespace

SyscallResult sys_ioctl(Task& task, int32_t fd, uint32_t cmd, uint64_t arg) {
  return DoIoctl(task, fd, cmd, arg);
}

}  // namespace syscalls
