// The objects of an IPC namespace: System V shared memory, semaphores and message queues, POSIX
// message queues (ipc_namespaces(7)).
#pragma once

#include "sentry/ipc/mqueue.h"
#include "sentry/ipc/msg.h"
#include "sentry/ipc/sem.h"
#include "sentry/ipc/shm.h"

namespace sentry {

class IpcObjects : public base::RefCounted {
 public:
  // Those of a namespace, made at the first call.
  static base::Ref<IpcObjects> Of(IpcNamespace& ns);
  static base::Ref<IpcObjects> Of(const Task& t) { return Of(*t.ipc_ns()); }

  const base::Ref<ShmTable> shm;
  const base::Ref<SemTable> sem;
  const base::Ref<MsgTable> msg;
  const base::Ref<MqueueDir> mqueues;

 private:
  template <typename T, typename... A>
  friend base::Ref<T> base::MakeRef(A&&... a);
  explicit IpcObjects(const base::Ref<UserNamespace>& owner);
  // The namespace is gone: so are its objects, but for what is still attached.
  ~IpcObjects() override;
};

}  // namespace sentry
