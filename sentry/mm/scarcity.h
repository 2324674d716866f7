// What a copy to guest memory that stopped short leaves for its caller's task.
#pragma once

namespace sentry {

// The calling thread's last copy found no page, since the sandbox's memory is used up: no mistake
// of the guest's. Whoever reads it resets it.
constinit inline thread_local bool copy_lacked_memory = false;

}  // namespace sentry
