// /dev: the devices that every sandbox has, and the tree that names them.
#pragma once

#include "sentry/vfs/vfs.h"

namespace sentry {

// Vfs's opener of character and block devices, by device number. ENXIO: no such device.
base::Result<base::Ref<File>> OpenDevice(const VfsContext& ctx, const Path& p,
                                         const OpenFlags& how);

// Fills the directory at path (a fresh tmpfs, say) with the devices, links and mount points that
// the OCI runtime specification asks for. What exists stays. ctx: privileged, umask 0.
base::Result<void> PopulateDev(const VfsContext& ctx, std::string_view path);

}  // namespace sentry
