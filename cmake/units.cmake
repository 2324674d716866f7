# The units, lowest first. A unit may include only from units above it in this file that it names (transitively) in DEPS; the
# presubmit checks the includes against this list.
moat_unit(syscalls/abi)
moat_unit(platform/base NO_EXCEPTIONS DEPS syscalls/abi)
moat_unit(platform/api NO_EXCEPTIONS DEPS platform/base)
moat_unit(platform/host NO_EXCEPTIONS DEPS platform/base)
moat_unit(platform/stub NO_EXCEPTIONS DEPS platform/base)
moat_unit(platform/systrap NO_EXCEPTIONS DEPS platform/api platform/host platform/stub)
moat_unit(platform/ptrace NO_EXCEPTIONS DEPS platform/api platform/host platform/stub)
moat_unit(gofer/wire NO_EXCEPTIONS DEPS platform/base)
moat_unit(gofer/client NO_EXCEPTIONS DEPS gofer/wire platform/host)
moat_unit(gofer/server NO_EXCEPTIONS DEPS gofer/wire platform/host)
