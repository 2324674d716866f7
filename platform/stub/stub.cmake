# The stub: freestanding code, linked as one flat binary and embedded by blob.cc.
set(stub_bin ${CMAKE_BINARY_DIR}/stub.bin)
add_custom_command(
  OUTPUT ${stub_bin}
  COMMAND ${CMAKE_CXX_COMPILER} -std=c++20 -O2 -Wall -Wextra -ffreestanding -fpie -fno-stack-protector -fno-exceptions -fno-rtti
          -fcf-protection=none -mgeneral-regs-only -fno-asynchronous-unwind-tables -fno-builtin -fvisibility=hidden
          -fomit-frame-pointer -nostdlib -static -Wl,--build-id=none,-z,noseparate-code,--oformat=binary
          -Wl,-T,${CMAKE_SOURCE_DIR}/platform/stub/code/stub.lds -I${CMAKE_SOURCE_DIR} -o ${stub_bin}
          ${CMAKE_SOURCE_DIR}/platform/stub/code/entry.cc ${CMAKE_SOURCE_DIR}/platform/stub/code/stub.cc
  DEPENDS platform/stub/code/entry.cc platform/stub/code/stub.cc platform/stub/code/common.h platform/stub/code/stub.lds
          platform/stub/layout.h platform/stub/inside.h
  VERBATIM)
add_custom_target(stub_binary DEPENDS ${stub_bin})
add_dependencies(platform_stub stub_binary)
set_source_files_properties(platform/stub/blob.cc PROPERTIES OBJECT_DEPENDS ${stub_bin}
                            COMPILE_DEFINITIONS MOAT_STUB_BIN="${stub_bin}")
