#include "sentry/ipc/ipc.h"

namespace sentry {

IpcObjects::IpcObjects(const base::Ref<UserNamespace>& owner)
    : shm(base::MakeRef<ShmTable>(owner)),
      sem(base::MakeRef<SemTable>(owner)),
      msg(base::MakeRef<MsgTable>(owner)),
      mqueues(base::MakeRef<MqueueDir>(base::MakeRef<MqueueSuperblock>(), owner)) {}

IpcObjects::~IpcObjects() {
  shm->Clear();
  sem->Clear();
  msg->Clear();
}

base::Ref<IpcObjects> IpcObjects::Of(IpcNamespace& ns) {
  base::MutexLock l(ns.mu);
  if (!ns.objects) ns.objects = base::MakeRef<IpcObjects>(ns.owner());
  return base::StaticRefCast<IpcObjects>(ns.objects);
}

}  // namespace sentry
