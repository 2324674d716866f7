// Reads an OCI bundle's config.json (runtime-spec 1.2) into a Spec. Unknown fields are ignored with
// a warning that names them; wrong types and missing required fields are errors that name the
// field.
#pragma once

#include <string>
#include <vector>

#include "platform/base/status.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// bundle: the directory. Warnings are sentences for standard error.
base::Status ReadBundle(const std::string& bundle, Spec* spec, std::vector<std::string>* warnings);
// The parsing half, for tests: text is config.json's content.
base::Status ParseConfig(const std::string& text, const std::string& bundle, Spec* spec,
                         std::vector<std::string>* warnings);

// -1: unknown.
int CapByName(const std::string& name);     // "CAP_CHOWN"
int RlimitByName(const std::string& name);  // "RLIMIT_NOFILE"

// Splits mount options into MS_* flags and the rest.
void ParseMountOptions(const std::vector<std::string>& options, uint32_t* flags, std::string* data);

}  // namespace runsc
