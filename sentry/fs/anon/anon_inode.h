// The one inode behind all files that are neither named nor have attributes of their own
// (anon_inode_getfile()).
#pragma once

#include "sentry/vfs/inode.h"

namespace sentry {

const base::Ref<Inode>& AnonInode();

}  // namespace sentry
