#include "runsc-cli/network/policy_file.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "runsc-cli/network/numbers.h"

namespace runsc {
namespace {

using base::Status;
using netgofer::Policy;
using netgofer::Rule;
using nlohmann::json;

constexpr size_t kMaxFile = 4 << 20;

// Which line each value stands on, by its path ("rules[2].ports[0]"), and names that a line has
// twice: the parser proper forgets both.
class Lines : public nlohmann::json_sax<json> {
 public:
  explicit Lines(const std::string& text) : text_(text) {}
  // Counts what the parser takes.
  struct Position {
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;
    const char* p;
    const char** furthest;
    reference operator*() const { return *p; }
    Position& operator++() {
      *furthest = ++p;
      return *this;
    }
    Position operator++(int) {
      Position old = *this;
      ++*this;
      return old;
    }
    bool operator==(const Position& o) const { return p == o.p; }
    bool operator!=(const Position& o) const { return p != o.p; }
  };
  void Read() {
    at_ = text_.data();
    json::sax_parse(Position{at_, &at_}, Position{text_.data() + text_.size(), &at_}, this);
  }
  size_t Of(const std::string& path) const {
    auto it = lines_.find(path);
    return it == lines_.end() ? 1 : it->second;
  }
  const std::string& twice() const { return twice_; }

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }
  bool start_object(std::size_t) override {
    Value();
    stack_.push_back({Path(), false, "", 0, {}});
    return true;
  }
  bool start_array(std::size_t) override {
    Value();
    stack_.push_back({Path(), true, "", 0, {}});
    return true;
  }
  bool key(string_t& k) override {
    stack_.back().key = k;
    if (!stack_.back().seen.insert(k).second && twice_.empty()) twice_ = Path();
    Mark();
    return true;
  }
  bool end_object() override { return End(); }
  bool end_array() override { return End(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  struct Level {
    std::string path;
    bool array;
    std::string key;
    size_t index;
    std::set<std::string> seen;
  };
  std::string Path() const {
    if (stack_.empty()) return "";
    const Level& l = stack_.back();
    if (l.array) return l.path + "[" + std::to_string(l.index - 1) + "]";
    return l.path.empty() ? l.key : l.path + "." + l.key;
  }
  void Mark() {
    // The parser has looked one character ahead behind a number.
    const char* end = std::max(text_.data(), at_ - 1);
    lines_[Path()] = 1 + static_cast<size_t>(std::count(text_.data(), end, '\n'));
  }
  bool Value() {
    if (!stack_.empty() && stack_.back().array) stack_.back().index++;
    Mark();
    return true;
  }
  bool End() {
    stack_.pop_back();
    return true;
  }

  const std::string& text_;
  const char* at_ = nullptr;
  std::vector<Level> stack_;
  std::map<std::string, size_t> lines_;
  std::string twice_;
};

class Reader {
 public:
  Reader(const std::string& file, const Lines& lines) : file_(file), lines_(lines) {}
  const Status& status() const { return status_; }

  void Read(const json& j, Policy* p) {
    Members(j, "", "default, log, resolvers, limits, dns, rules",
            [&](const std::string& key, const json& v) {
              if (key == "default") return Choice(v, key, kActions, &p->allow_by_default);
              if (key == "log") return Choice(v, key, kLogs, &p->log);
              if (key == "resolvers") return Resolvers(v, key, p);
              if (key == "limits") return Limits(v, key, &p->limits);
              if (key == "dns") return Dns(v, key, p);
              if (key == "rules") return Rules(v, key, p);
              Unknown(key);
            });
    if (p->min_ttl > p->max_ttl) Fail("dns", "has a minTtl above its maxTtl; exchange them");
    if (status_.ok() && netgofer::Encode(*p).empty()) {
      Fail("rules", "are too many: together they may take " +
                        std::to_string(netgofer::kMaxEncoded >> 10) +
                        " KiB; join prefixes, or use wildcards");
    }
  }

 private:
  template <typename T>
  using Choices = std::vector<std::pair<const char*, T>>;
  static inline const Choices<bool> kActions = {{"allow", true}, {"deny", false}};
  static inline const Choices<netgofer::LogDecisions> kLogs = {
      {"none", netgofer::LogDecisions::kNone},
      {"denied", netgofer::LogDecisions::kDenied},
      {"all", netgofer::LogDecisions::kAll}};
  static inline const Choices<uint8_t> kProtocols = {{"tcp", netgofer::kTcp},
                                                     {"udp", netgofer::kUdp},
                                                     {"icmp", netgofer::kIcmp},
                                                     {"any", netgofer::kAnyProtocol}};

  void Fail(const std::string& field, const std::string& what) {
    if (!status_.ok()) return;
    status_ = Status::Error(file_ + ":" + std::to_string(lines_.Of(field)) + ": " +
                            (field.empty() ? "the policy" : field) + " " + what);
  }
  void Unknown(const std::string& field) {
    Fail(field, "is no field of a policy; known here: " + known_);
  }

  template <typename F>
  void Members(const json& j, const std::string& where, const char* known, F&& each) {
    if (!j.is_object()) return Fail(where, std::string("must be an object, not ") + j.type_name());
    known_ = known;
    for (const auto& [key, value] : j.items()) {
      each(where.empty() ? key : where + "." + key, value);
      known_ = known;
    }
  }
  // One value, or an array of them.
  template <typename F>
  void Each(const json& j, const std::string& field, size_t most, F&& each) {
    if (!j.is_array()) return each(field, j);
    if (j.size() > most) return Fail(field, "has more than " + std::to_string(most) + " entries");
    // An empty list would match everything.
    if (j.empty()) return Fail(field, "is empty; leave it out, or name something");
    for (size_t i = 0; i < j.size(); i++) each(field + "[" + std::to_string(i) + "]", j[i]);
  }
  template <typename T>
  void Choice(const json& v, const std::string& field, const Choices<T>& choices, T* out) {
    std::string names;
    for (const auto& [name, value] : choices) {
      names += (names.empty() ? "\"" : ", \"") + std::string(name) + "\"";
      if (v.is_string() && v.get_ref<const std::string&>() == name) {
        *out = value;
        return;
      }
    }
    Fail(field, "must be one of " + names);
  }
  void Number(const json& v, const std::string& field, uint32_t* out) {
    if (!v.is_number_unsigned() || v.get<uint64_t>() > std::numeric_limits<uint32_t>::max()) {
      return Fail(field, "must be a whole number from 0 to 4294967295");
    }
    *out = v.get<uint32_t>();
  }

  void Resolvers(const json& v, const std::string& field, Policy* p) {
    Each(v, field, netgofer::kMaxResolvers, [&](const std::string& f, const json& e) {
      auto a =
          e.is_string() ? netgofer::ParseAddress(e.get_ref<const std::string&>()) : std::nullopt;
      if (!a) return Fail(f, "must be an address, such as \"10.0.0.2\"");
      p->resolvers.push_back(*a);
    });
  }
  void Limits(const json& v, const std::string& field, netgofer::Limits* l) {
    const std::map<std::string, uint32_t*> fields = {
        {"connections", &l->connections},
        {"connectionsPerSecond", &l->connections_per_second},
        {"datagramsPerSecond", &l->datagrams_per_second},
        {"uploadBytesPerSecond", &l->upload_bytes_per_second}};
    Members(v, field, "connections, connectionsPerSecond, datagramsPerSecond, uploadBytesPerSecond",
            [&](const std::string& f, const json& e) { Numbers(fields, field, f, e); });
  }
  void Dns(const json& v, const std::string& field, Policy* p) {
    const std::map<std::string, uint32_t*> fields = {{"minTtl", &p->min_ttl},
                                                     {"maxTtl", &p->max_ttl}};
    Members(v, field, "minTtl, maxTtl",
            [&](const std::string& f, const json& e) { Numbers(fields, field, f, e); });
  }
  void Numbers(const std::map<std::string, uint32_t*>& fields, const std::string& in,
               const std::string& field, const json& v) {
    auto it = fields.find(field.substr(in.size() + 1));
    if (it == fields.end()) return Unknown(field);
    Number(v, field, it->second);
  }

  void Rules(const json& v, const std::string& field, Policy* p) {
    if (!v.is_array()) return Fail(field, "must be an array of rules");
    if (v.size() > netgofer::kMaxRules) {
      return Fail(field, "has more than " + std::to_string(netgofer::kMaxRules) + " rules");
    }
    for (size_t i = 0; i < v.size(); i++) {
      OneRule(v[i], field + "[" + std::to_string(i) + "]", &p->rules.emplace_back());
    }
  }
  void OneRule(const json& v, const std::string& where, Rule* r) {
    bool has_action = false;
    Members(v, where, "action, cidr, domain, ports, protocol, comment",
            [&](const std::string& f, const json& e) {
              const std::string key = f.substr(where.size() + 1);
              if (key == "comment") return;
              if (key == "action") {
                has_action = true;
                return Choice(e, f, kActions, &r->allow);
              }
              if (key == "cidr") return Prefixes(e, f, r);
              if (key == "domain") return Domains(e, f, r);
              if (key == "ports") return Ports(e, f, r);
              if (key == "protocol") return Protocol(e, f, r);
              Unknown(f);
            });
    if (!has_action) Fail(where, "has no action: \"allow\" or \"deny\"");
    if (!r->prefixes.empty() && !r->domains.empty()) {
      Fail(where, "has both cidr and domain; make two rules of it");
    }
    if (!r->ports.empty() && r->protocols == netgofer::kIcmp) {
      Fail(where + ".ports", "mean nothing to icmp; leave them out");
    }
  }
  void Prefixes(const json& v, const std::string& field, Rule* r) {
    Each(v, field, netgofer::kMaxPerRule, [&](const std::string& f, const json& e) {
      auto p =
          e.is_string() ? netgofer::ParsePrefix(e.get_ref<const std::string&>()) : std::nullopt;
      if (!p) {
        return Fail(f,
                    "must be a prefix such as \"10.0.0.0/8\" or \"2001:db8::/32\", with zeros "
                    "behind its length");
      }
      r->prefixes.push_back(*p);
    });
  }
  void Domains(const json& v, const std::string& field, Rule* r) {
    Each(v, field, netgofer::kMaxPerRule, [&](const std::string& f, const json& e) {
      auto d =
          e.is_string() ? netgofer::NormalPattern(e.get_ref<const std::string&>()) : std::nullopt;
      if (!d) {
        return Fail(f,
                    "must be a name such as \"example.com\", or \"*.example.com\" for all names "
                    "below it; other letters than a-z in their xn-- form");
      }
      r->domains.push_back(*d);
    });
  }
  void Ports(const json& v, const std::string& field, Rule* r) {
    Each(v, field, netgofer::kMaxPerRule, [&](const std::string& f, const json& e) {
      netgofer::PortRange range;
      bool good = false;
      if (e.is_number_unsigned() && e.get<uint64_t>() <= 65535) {
        range.first = range.last = e.get<uint16_t>();
        good = true;
      } else if (e.is_string()) {
        good = ParsePorts(e.get_ref<const std::string&>(), &range.first, &range.last);
      }
      if (!good) return Fail(f, "must be a port such as 443, or a range such as \"8000-8080\"");
      r->ports.push_back(range);
    });
  }
  void Protocol(const json& v, const std::string& field, Rule* r) {
    r->protocols = 0;
    Each(v, field, netgofer::kMaxPerRule, [&](const std::string& f, const json& e) {
      uint8_t p = 0;
      Choice(e, f, kProtocols, &p);
      r->protocols |= p;
    });
  }

  const std::string& file_;
  const Lines& lines_;
  std::string known_;
  Status status_;
};

std::string RuleText(const netgofer::Decision& d) {
  const std::string word = d.allowed ? "allowed" : "denied";
  return d.rule >= 0 ? word + " by rules[" + std::to_string(d.rule) + "]"
                     : word + " (" + d.reason + ")";
}

}  // namespace

Status ParsePolicy(const std::string& file, const std::string& text, Policy* policy) {
  json j;
  try {
    j = json::parse(text);
  } catch (const json::parse_error& e) {
    const size_t at = std::min(e.byte == 0 ? 0 : e.byte - 1, text.size());
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(at), '\n');
    return Status::Error(file + ":" + std::to_string(line) +
                         ": no valid JSON here; look for a missing comma, quote or bracket");
  }
  Lines lines(text);
  lines.Read();
  if (!lines.twice().empty()) {
    return Status::Error(file + ":" + std::to_string(lines.Of(lines.twice())) + ": " +
                         lines.twice() + " is there twice; leave one");
  }
  *policy = Policy{};
  Reader reader(file, lines);
  reader.Read(j, policy);
  return reader.status();
}

Status ReadPolicy(const std::string& file, Policy* policy) {
  std::ifstream in(file);
  if (!in) return Status::Errno(file, errno).With("egress policy");
  std::stringstream text;
  text << in.rdbuf();
  if (!in || text.str().size() > kMaxFile) {
    return Status::Error("egress policy: " + file + " can't be read, or is larger than 4 MiB");
  }
  return ParsePolicy(file, text.str(), policy);
}

Status ExplainPolicy(const Policy& policy, const std::string& to, std::string* answer) {
  std::string host = to, protocol = "tcp";
  if (const size_t slash = host.rfind('/'); slash != std::string::npos) {
    protocol = host.substr(slash + 1);
    host.resize(slash);
  }
  const std::map<std::string, uint8_t> protocols = {
      {"tcp", netgofer::kTcp}, {"udp", netgofer::kUdp}, {"icmp", netgofer::kIcmp}};
  auto bit = protocols.find(protocol);
  uint16_t port = 0, last = 0;
  const size_t colon = host.rfind(':');
  bool good = bit != protocols.end();
  if (good && bit->second != netgofer::kIcmp) {
    good = colon != std::string::npos && ParsePorts(host.substr(colon + 1), &port, &last) &&
           port == last;
    if (good) host.resize(colon);
  }
  if (good && host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  const auto address = netgofer::ParseAddress(host);
  const auto name = netgofer::NormalPattern(host);
  if (!good || (!address && (!name || name->front() == '*'))) {
    return Status::Error("\"" + to +
                         "\" is no destination; write HOST:PORT, HOST:PORT/udp or "
                         "HOST/icmp, with [] around an IPv6 address");
  }
  if (address) {
    const netgofer::Endpoint e{.address = *address, .port = port};
    *answer = to + ": " + RuleText(netgofer::Judge(policy, bit->second, e, {})) + "\n";
    return {};
  }
  const netgofer::Decision lookup = netgofer::JudgeName(policy, *name);
  *answer = "looking up " + *name + ": " + RuleText(lookup) +
            (lookup.rule < 0 ? "; asked only if the resolver itself is allowed" : "") + "\n";
  if (lookup.rule >= 0 && !lookup.allowed) return {};
  // Any address of the internet stands for those that the name may have.
  const netgofer::Endpoint e{.address = netgofer::Address::V4(0x01010101), .port = port};
  const std::vector<std::string> names = {*name};
  *answer += to + ": " +
             RuleText(netgofer::Judge(policy, bit->second, e,
                                      lookup.allowed ? std::span<const std::string>(names)
                                                     : std::span<const std::string>())) +
             ", unless a cidr rule says otherwise for its address\n";
  return {};
}

}  // namespace runsc
