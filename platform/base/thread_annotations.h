// Clang's thread-safety attributes (no-ops on g++).
#pragma once

#if defined(__clang__)
#define MOAT_TSA(x) __attribute__((x))
#else
#define MOAT_TSA(x)
#endif

// Abseil's internal header defines two of these names, with the same meaning.
#undef GUARDED_BY
#undef NO_THREAD_SAFETY_ANALYSIS
#define CAPABILITY(x) MOAT_TSA(capability(x))
#define SCOPED_CAPABILITY MOAT_TSA(scoped_lockable)
#define GUARDED_BY(x) MOAT_TSA(guarded_by(x))
#define REQUIRES_LOCK(...) MOAT_TSA(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED_LOCK(...) MOAT_TSA(requires_shared_capability(__VA_ARGS__))
#define ACQUIRE_LOCK(...) MOAT_TSA(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED_LOCK(...) MOAT_TSA(acquire_shared_capability(__VA_ARGS__))
#define RELEASE_LOCK(...) MOAT_TSA(release_capability(__VA_ARGS__))
#define RELEASE_SHARED_LOCK(...) MOAT_TSA(release_shared_capability(__VA_ARGS__))
#define TRY_ACQUIRE_LOCK(...) MOAT_TSA(try_acquire_capability(__VA_ARGS__))
#define EXCLUDES_LOCK(...) MOAT_TSA(locks_excluded(__VA_ARGS__))
#define RETURN_CAPABILITY(x) MOAT_TSA(lock_returned(x))
#define NO_THREAD_SAFETY_ANALYSIS MOAT_TSA(no_thread_safety_analysis)
