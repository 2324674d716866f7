// Command-line flags as runc and runsc take them: one dash or two, "--flag value" or
// "--flag=value", up to the first word that is no flag or "--".
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/status.h"

namespace runsc {

class FlagSet {
 public:
  // The targets must outlive Parse.
  void Bool(const char* name, bool* target, const char* help);
  void String(const char* name, std::string* target, const char* arg, const char* help);
  void List(const char* name, std::vector<std::string>* target, const char* arg, const char* help);
  // Accepted for callers of runc and runsc, without effect here.
  void Ignored(const char* name, bool takes_value);
  // name without dashes; short aliases too.
  void Alias(const char* alias, const char* name);

  // Consumes flags from args[*i] on; *i is then the first word behind them ("--" consumed). An
  // unknown flag or a missing value is an error that names it.
  base::Status Parse(const std::vector<std::string>& args, size_t* i) const;
  // Lines for --help.
  std::string Help() const;
  bool help_wanted() const { return help_wanted_; }

 private:
  struct Flag {
    std::string name;
    bool takes_value;
    std::function<base::Status(const std::string&)> set;
    std::string arg, help;
    bool hidden;
  };
  const Flag* Find(std::string_view name) const;
  std::vector<Flag> flags_;
  std::vector<std::pair<std::string, std::string>> aliases_;
  mutable bool help_wanted_ = false;
};

}  // namespace runsc
