// The engines: names, choice, making one.
#pragma once

#include <memory>
#include <string>

#include "platform/api/platform.h"
#include "platform/base/fd.h"
#include "platform/base/status.h"

namespace runsc {

// For messages: what --platform takes.
constexpr const char* kEngineNames = "systrap|ptrace|kvm|auto";

struct EngineRow;

// An engine, with what it needs from outside the jail.
struct Engine {
  const EngineRow* row = nullptr;
  base::UniqueFd device;
};

// An error if there is no such engine. Asks nothing of the host.
base::Status CheckEngineName(const std::string& name);
// In the command. auto: the best that this host can run; a name: that one, or why it can't.
base::StatusOr<Engine> ChooseEngine(const std::string& name);
// In the sentry, before the filter.
base::StatusOr<std::unique_ptr<platform::Platform>> MakeEngine(Engine engine,
                                                               const platform::Options& options);
// What its guests cost so far: a line of JSON; empty: this engine doesn't count.
std::string EngineStats(const EngineRow& row, platform::Platform& platform);
// Of the sentry's filter (host::Role).
uint32_t EngineRoles(const Engine& engine);
// A line per engine: whether this host can run it; if not, why, and what would change it.
std::string DescribeEngines();

}  // namespace runsc
