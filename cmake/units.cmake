# The units, lowest first. A unit may include only from units above it in this file that it names (transitively) in DEPS; the
# presubmit checks the includes against this list.
moat_unit(syscalls/abi)
moat_unit(platform/base NO_EXCEPTIONS DEPS syscalls/abi)
