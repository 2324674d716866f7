// Reads an OCI bundle's config.json (runtime-spec 1.2) into a Spec. Unknown fields are ignored with
// a warning that names them; wrong types and missing required fields are errors that name the
// field.
#pragma once

#include <string>
#include <vector>

#include "platform/base/status.h"
#include "runsc-cli/oci/json_object.h"
#include "runsc-cli/oci/spec.h"

namespace runsc {

// bundle: the directory. Warnings are sentences for standard error.
base::Status ReadBundle(const std::string& bundle, Spec* spec, std::vector<std::string>* warnings);
// The parsing half, for tests: text is config.json's content.
base::Status ParseConfig(const std::string& text, const std::string& bundle, Spec* spec,
                         std::vector<std::string>* warnings);
// config.json's content without linux.seccomp: for a process that may not make the system calls
// that translating it takes, and gets the program.
std::string WithoutSeccomp(const std::string& text);
// The process of `exec --process FILE`.
base::Status ReadProcessFile(const std::string& path, ProcessSpec* process,
                             std::vector<std::string>* warnings);
// `update --resources`: text is a LinuxResources object.
base::Status ParseResources(const std::string& text, Resources* resources);
// What `update` changed: what is present in changed replaces what is in resources.
void Merge(const Resources& changed, Resources* resources);

// The parts of config.json with a file of their own.
void ReadResources(JsonObject&& object, Resources* resources);
// linux.seccomp as a program for the guest's kernel.
void ReadSeccomp(JsonObject&& object, std::vector<abi::SockFilter>* program);

// What config.json may say, for `features`.
std::vector<std::string> MountOptionNames();
std::vector<std::string> SeccompActionNames();
const char* CapName(int cap);  // without "CAP_"; null: there is none

// -1: unknown.
int CapByName(const std::string& name);     // "CAP_CHOWN"
int RlimitByName(const std::string& name);  // "RLIMIT_NOFILE"

// Splits mount options into MS_* flags and the rest.
void ParseMountOptions(const std::vector<std::string>& options, uint32_t* flags, std::string* data);

}  // namespace runsc
