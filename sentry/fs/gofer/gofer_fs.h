// The file system whose objects live in the gofer. One instance (superblock) per mount that the
// gofer serves.
//
// Exclusive mounts: nobody but this sandbox changes them, so what was learnt once stays true:
// attributes, names and missing names are answered from memory. Shared mounts ask again. The data
// of regular files never passes through the gofer: it donates the descriptor, and reads, writes and
// mappings use that.
#pragma once

#include <cstdint>
#include <string>

#include "gofer/client/client.h"
#include "sentry/vfs/inode.h"

namespace sentry {

// Attaches to one of the gofer's mounts and returns the root inode of a new instance. type: what
// /proc/mounts shows. source: likewise. The root may be a regular file (a file bind-mounted into
// the container).
base::Result<base::Ref<Inode>> MountGofer(base::Ref<gofer::Client> client, uint32_t mount_id,
                                          std::string type, std::string source);

}  // namespace sentry
