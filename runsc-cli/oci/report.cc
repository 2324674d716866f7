#include <cstdio>

#include "runsc-cli/oci/spec.h"

namespace runsc {

int Fail(const std::string& text, int status) {
  fprintf(stderr, "moat: %s\n", text.c_str());
  return status;
}

}  // namespace runsc
