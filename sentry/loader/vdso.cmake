# The guest's vDSO: a freestanding shared object, embedded by vdso.cc.
set(vdso_so ${CMAKE_BINARY_DIR}/vdso.so)
add_custom_command(
  OUTPUT ${vdso_so}
  COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -O2 -Wall -Wextra -ffreestanding -fPIC -fno-stack-protector -fno-exceptions
          -fno-rtti -fcf-protection=none -fasynchronous-unwind-tables -fno-builtin -fvisibility=hidden -nostdlib -shared
          -Wl,-Bsymbolic,-soname=linux-vdso.so.1,--hash-style=both,--build-id=none,-z,max-page-size=4096,-z,noexecstack
          -Wl,--eh-frame-hdr,-T,${CMAKE_SOURCE_DIR}/sentry/loader/vdso/vdso.lds -I${CMAKE_SOURCE_DIR} -o ${vdso_so}
          ${CMAKE_SOURCE_DIR}/sentry/loader/vdso/vdso.cc
  DEPENDS sentry/loader/vdso/vdso.cc sentry/loader/vdso/vdso.lds sentry/loader/vdso/data.h
  VERBATIM)
add_custom_target(vdso_binary DEPENDS ${vdso_so})
add_dependencies(sentry_loader vdso_binary)
set_source_files_properties(sentry/loader/vdso.cc PROPERTIES OBJECT_DEPENDS ${vdso_so}
                            COMPILE_DEFINITIONS MOAT_VDSO="${vdso_so}")
