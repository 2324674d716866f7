// An open directory that the client is reading batch by batch.
#pragma once

#include <cstdint>

#include "gofer/server/server.h"

namespace gofer {

struct Server::Stream {
  wire::NodeId id = wire::kNoNode;
  base::UniqueFd fd;
  uint64_t cookie = 0;  // where the host stands
  wire::NodeId node_id() const { return id; }
};

}  // namespace gofer
