// Sanitizer builds only: options of the run time that fit the jail (tests/README.md). A sandbox
// can't start a symbolizer. Faults are the sentry's own affair (platform/host/safe_copy.h). The
// sentry and the gofer end without destructors, on purpose: what they still hold is no leak.
#define MOAT_SANITIZER_OPTIONS \
  "symbolize=0:color=never:handle_segv=0:handle_sigbus=0:use_sigaltstack=0"

extern "C" {
const char* __asan_default_options() { return MOAT_SANITIZER_OPTIONS ":detect_leaks=0"; }
const char* __tsan_default_options() { return MOAT_SANITIZER_OPTIONS ":halt_on_error=1"; }
const char* __ubsan_default_options() { return MOAT_SANITIZER_OPTIONS ":print_stacktrace=1"; }
}
