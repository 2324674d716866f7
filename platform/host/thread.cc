#include "platform/host/thread.h"

#include <limits.h>
#include <pthread.h>

#include "platform/base/log.h"

namespace host {
namespace {

struct Entry {
  void (*run)(void*);
  void* arg;
};

void* Main(void* p) {
  Entry e = *static_cast<Entry*>(p);
  delete static_cast<Entry*>(p);
  e.run(e.arg);
  return nullptr;
}

// Frames are larger without optimisation.
#ifdef MOAT_DEBUG
constexpr size_t kStackFactor = 16;
#else
constexpr size_t kStackFactor = 1;
#endif

long Create(pthread_t* id, void (*run)(void*), void* arg, size_t stack, bool detached) {
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  if (stack < static_cast<size_t>(PTHREAD_STACK_MIN)) stack = PTHREAD_STACK_MIN;
  pthread_attr_setstacksize(&attr, stack * kStackFactor);
  pthread_attr_setguardsize(&attr, 4096);
  if (detached) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  auto* e = new Entry{run, arg};
  int r = pthread_create(id, &attr, Main, e);
  pthread_attr_destroy(&attr);
  if (r != 0) delete e;
  return -r;
}

}  // namespace

Thread::~Thread() { CHECK(!joinable_); }

long Thread::StartDetached(void (*run)(void*), void* arg, size_t stack) {
  pthread_t id;
  return Create(&id, run, arg, stack, true);
}

long Thread::Start(void (*run)(void*), void* arg, size_t stack) {
  CHECK(!joinable_);
  long r = Create(&id_, run, arg, stack, false);
  joinable_ = r == 0;
  return r;
}

void Thread::Join() {
  CHECK(joinable_);
  pthread_join(id_, nullptr);
  joinable_ = false;
}

}  // namespace host
