// Where the processes of a container run: what the sandbox's kernel has of it.
#pragma once

#include "platform/base/ref.h"
#include "runsc-cli/oci/spec.h"
#include "sentry/fs/devpts/devpts.h"
#include "sentry/fs/sys/cgroup.h"
#include "sentry/kernel/kernel.h"

namespace runsc {

struct Place {
  sentry::Kernel* kernel = nullptr;
  const Spec* spec = nullptr;
  base::Ref<sentry::Container> limits;
  base::Ref<sentry::CgroupView> cgroup;
  base::Ref<sentry::UserNamespace> user_ns;  // the kernel's root one, or a child of it
  base::Ref<sentry::PidNamespace> pid_ns;
  base::Ref<sentry::IpcNamespace> ipc_ns;
  base::Ref<sentry::UtsNamespace> uts_ns;  // null: the first container's
  base::Ref<sentry::MountNamespace> mounts;
  base::Ref<sentry::Devpts> devpts;  // of /dev/pts; null: none is mounted there
};

}  // namespace runsc
