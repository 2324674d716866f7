#include "runsc-cli/network/policy_file.h"

#include <gtest/gtest.h>

namespace runsc {
namespace {

using netgofer::Policy;

constexpr char kGood[] = R"({
  "default": "allow", "log": "all", "resolvers": ["10.0.0.2", "fd00::2"],
  "limits": {"connections": 5, "connectionsPerSecond": 6, "datagramsPerSecond": 7,
             "uploadBytesPerSecond": 8},
  "dns": {"minTtl": 1, "maxTtl": 2},
  "rules": [
    {"action": "deny", "cidr": "10.0.0.0/8"},
    {"action": "allow", "domain": ["*.Example.com", "pypi.org."], "ports": [443, "8000-8080"],
     "protocol": ["tcp", "udp"], "comment": "x"}
  ]
})";

TEST(PolicyFile, Good) {
  Policy p;
  base::Status s = ParsePolicy("p.json", kGood, &p);
  ASSERT_TRUE(s.ok()) << s.text();
  EXPECT_TRUE(p.allow_by_default);
  EXPECT_EQ(p.log, netgofer::LogDecisions::kAll);
  EXPECT_EQ(p.resolvers.size(), 2u);
  EXPECT_EQ(p.limits.upload_bytes_per_second, 8u);
  EXPECT_EQ(p.max_ttl, 2u);
  ASSERT_EQ(p.rules.size(), 2u);
  EXPECT_FALSE(p.rules[0].allow);
  EXPECT_EQ(p.rules[1].domains[0], "*.example.com");
  EXPECT_EQ(p.rules[1].ports[1].last, 8080);
  EXPECT_EQ(p.rules[1].protocols, netgofer::kTcp | netgofer::kUdp);
}

TEST(PolicyFile, DeniesByDefault) {
  Policy p;
  ASSERT_TRUE(ParsePolicy("p.json", "{}", &p).ok());
  EXPECT_FALSE(p.allow_by_default);
}

struct Bad {
  const char* text;
  int line;
  const char* field;
  const char* remedy;
};

TEST(PolicyFile, ErrorsNameLineFieldAndRemedy) {
  const Bad cases[] = {
      {"{\n\"rules\": [\n{\"action\": \"allow\",}\n]}", 3, "JSON", "comma"},
      {"[]", 1, "the policy", "object"},
      {"{\n\n\"defualt\": \"deny\"}", 3, "defualt", "known here: default, log"},
      {"{\"default\": \"perhaps\"}", 1, "default", "\"allow\", \"deny\""},
      {"{\"rules\": [\n{\"action\": \"allow\"},\n{\"cidr\": \"10.0.0.0/8\"}]}", 3, "rules[1]",
       "action"},
      {"{\"rules\": [\n{\"action\": \"allow\",\n\"cidr\": [\"10.0.0.0/8\",\n\"10.0.0.1/8\"]}]}", 4,
       "rules[0].cidr[1]", "zeros"},
      {"{\"rules\": [{\"action\": \"allow\",\n\"ports\":\n70000}]}", 3, "rules[0].ports", "443"},
      {"{\"rules\": [{\"action\": \"allow\",\n\"ports\": [80,\n\"90-80\"]}]}", 3,
       "rules[0].ports[1]", "range"},
      {"{\"rules\": [{\"action\": \"allow\",\n\"domain\": \"http://a\"}]}", 2, "rules[0].domain",
       "example.com"},
      {"{\"rules\": [{\"action\": \"allow\",\n\"cidr\": []}]}", 2, "rules[0].cidr", "empty"},
      {"{\"rules\": [{\"action\": \"allow\", \"cidr\": \"::/0\", \"domain\": \"*\"}]}", 1,
       "rules[0]", "two rules"},
      {"{\"limits\": {\n\"connections\": -1}}", 2, "limits.connections", "whole number"},
      {"{\"limits\": {\"conections\": 1}}", 1, "limits.conections", "connectionsPerSecond"},
      {"{\"resolvers\": [\n\"localhost\"]}", 2, "resolvers[0]", "10.0.0.2"},
      {"{\"dns\": {\"minTtl\": 5, \"maxTtl\": 4}}", 1, "dns", "exchange"},
      {"{\"log\": \"all\",\n\"log\": \"none\"}", 2, "log", "leave one"},
      {"{\"rules\": [{\"action\": \"allow\",\n\"protocol\": \"icmp\", \"ports\": 1}]}", 2,
       "rules[0].ports", "leave them out"},
  };
  for (const Bad& c : cases) {
    Policy p;
    base::Status s = ParsePolicy("p.json", c.text, &p);
    ASSERT_FALSE(s.ok()) << c.text;
    EXPECT_EQ(s.text().find("p.json:" + std::to_string(c.line) + ": "), 0u) << s.text();
    EXPECT_NE(s.text().find(c.field), std::string::npos) << s.text();
    EXPECT_NE(s.text().find(c.remedy), std::string::npos) << s.text();
    EXPECT_EQ(s.text().find('\n'), std::string::npos);
  }
}

TEST(PolicyFile, Explains) {
  Policy p;
  ASSERT_TRUE(ParsePolicy("p.json", kGood, &p).ok());
  std::string answer;
  ASSERT_TRUE(ExplainPolicy(p, "10.1.2.3:80", &answer).ok());
  EXPECT_NE(answer.find("denied by rules[0]"), std::string::npos) << answer;
  ASSERT_TRUE(ExplainPolicy(p, "[::ffff:10.1.2.3]:80/udp", &answer).ok());
  EXPECT_NE(answer.find("denied by rules[0]"), std::string::npos) << answer;
  ASSERT_TRUE(ExplainPolicy(p, "www.example.com:443", &answer).ok());
  EXPECT_NE(answer.find("allowed by rules[1]"), std::string::npos) << answer;
  ASSERT_TRUE(ExplainPolicy(p, "192.0.2.1/icmp", &answer).ok());
  EXPECT_NE(answer.find("allowed (default)"), std::string::npos) << answer;
  for (const char* bad : {"", "a", "a:b", "a:0", "*.a.b:80", "1.2.3.4:80/sctp", "a:1-2"}) {
    EXPECT_FALSE(ExplainPolicy(p, bad, &answer).ok()) << bad;
  }
}

}  // namespace
}  // namespace runsc
