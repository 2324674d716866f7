// Egress policies as people write them: JSON, described in README.md.
#pragma once

#include <string>

#include "netgofer/policy/policy.h"
#include "platform/base/status.h"

namespace runsc {

// Errors name the file, the line, the field, and what would be right.
base::Status ParsePolicy(const std::string& file, const std::string& text,
                         netgofer::Policy* policy);
base::Status ReadPolicy(const std::string& file, netgofer::Policy* policy);

// "HOST:PORT[/tcp|udp]", "HOST/icmp"; HOST is an address ([...] around IPv6) or a name. What the
// policy says to it, as lines for a person.
base::Status ExplainPolicy(const netgofer::Policy& policy, const std::string& to,
                           std::string* answer);

}  // namespace runsc
