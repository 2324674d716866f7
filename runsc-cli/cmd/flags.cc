#include "runsc-cli/cmd/flags.h"

namespace runsc {

using base::Status;

void FlagSet::Bool(const char* name, bool* target, const char* help) {
  flags_.push_back({name, false,
                    [target, name](const std::string& v) {
                      if (v == "true" || v == "1" || v.empty()) {
                        *target = true;
                      } else if (v == "false" || v == "0") {
                        *target = false;
                      } else {
                        return Status::Error("--" + std::string(name) +
                                             " is true or false, not \"" + v + "\"");
                      }
                      return Status();
                    },
                    "", help, false});
}

void FlagSet::String(const char* name, std::string* target, const char* arg, const char* help) {
  flags_.push_back({name, true,
                    [target](const std::string& v) {
                      *target = v;
                      return Status();
                    },
                    arg, help, false});
}

void FlagSet::List(const char* name, std::vector<std::string>* target, const char* arg,
                   const char* help) {
  flags_.push_back({name, true,
                    [target](const std::string& v) {
                      target->push_back(v);
                      return Status();
                    },
                    arg, help, false});
}

void FlagSet::Ignored(const char* name, bool takes_value) {
  flags_.push_back({name, takes_value, [](const std::string&) { return Status(); }, "", "", true});
}

void FlagSet::Alias(const char* alias, const char* name) { aliases_.emplace_back(alias, name); }

const FlagSet::Flag* FlagSet::Find(std::string_view name) const {
  for (const auto& [alias, target] : aliases_) {
    if (name == alias) name = target;
  }
  for (const Flag& f : flags_) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

Status FlagSet::Parse(const std::vector<std::string>& args, size_t* i) const {
  for (; *i < args.size(); ++*i) {
    const std::string& word = args[*i];
    if (word == "--") {
      ++*i;
      return {};
    }
    if (word.size() < 2 || word[0] != '-') return {};
    std::string_view name = word;
    name.remove_prefix(word[1] == '-' ? 2 : 1);
    std::string value;
    bool has_value = false;
    if (size_t eq = name.find('='); eq != std::string_view::npos) {
      value = name.substr(eq + 1);
      name = name.substr(0, eq);
      has_value = true;
    }
    if (name == "help" || name == "h") {
      help_wanted_ = true;
      continue;
    }
    const Flag* f = Find(name);
    if (f == nullptr) return Status::Error("unknown flag " + word + "; see --help");
    if (f->takes_value && !has_value) {
      if (*i + 1 >= args.size())
        return Status::Error("flag " + word + " needs a value: " + word + "=" +
                             (f->arg.empty() ? "VALUE" : f->arg));
      value = args[++*i];
    }
    RETURN_IF_ERROR(f->set(value));
  }
  return {};
}

std::string FlagSet::Help() const {
  std::string out;
  for (const Flag& f : flags_) {
    if (f.hidden) continue;
    std::string left = "  --" + f.name + (f.takes_value ? " " + f.arg : "");
    if (left.size() < 34) left.resize(34, ' ');
    out += left + " " + f.help + "\n";
  }
  return out;
}

}  // namespace runsc
