// statx(2)'s answer as the wire has it.
#pragma once

#include <linux/stat.h>
#include <sys/stat.h>

#include "gofer/wire/messages.h"

namespace gofer {

inline void AttrOf(const struct statx& st, wire::Attr* a) {
  *a = {};
  a->ino = st.stx_ino;
  a->dev = uint64_t{st.stx_dev_major} << 32 | st.stx_dev_minor;
  a->rdev = uint64_t{st.stx_rdev_major} << 32 | st.stx_rdev_minor;
  a->size = st.stx_size;
  a->blocks = st.stx_blocks;
  a->atime_sec = st.stx_atime.tv_sec;
  a->atime_nsec = st.stx_atime.tv_nsec;
  a->mtime_sec = st.stx_mtime.tv_sec;
  a->mtime_nsec = st.stx_mtime.tv_nsec;
  a->ctime_sec = st.stx_ctime.tv_sec;
  a->ctime_nsec = st.stx_ctime.tv_nsec;
  if ((st.stx_mask & STATX_BTIME) != 0) {
    a->btime_sec = st.stx_btime.tv_sec;
    a->btime_nsec = st.stx_btime.tv_nsec;
    a->has_btime = 1;
  }
  a->mode = st.stx_mode;
  a->nlink = st.stx_nlink;
  a->uid = st.stx_uid;
  a->gid = st.stx_gid;
  a->blksize = st.stx_blksize;
}

}  // namespace gofer
