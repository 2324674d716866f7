#include "sentry/fs/anon/anon_inode.h"

#include "sentry/vfs/vfs.h"

namespace sentry {

const base::Ref<Inode>& AnonInode() {
  // Never destroyed: files may outlive static objects.
  static const auto* inode = new base::Ref<Inode>(Vfs::NewAnonInode(0600));
  return *inode;
}

}  // namespace sentry
