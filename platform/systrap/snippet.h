// For tests: guest code.
#pragma once

#include <cstdint>

// A piece of guest code between NAME_begin and NAME_end; position-independent, up to a page.
#define SNIPPET(name, code)                                                      \
  extern "C" const uint8_t name##_begin[], name##_end[];                         \
  __asm__(".pushsection .rodata\n.balign 16\n" #name "_begin:\n" code "\n" #name \
          "_end:\n.popsection")
