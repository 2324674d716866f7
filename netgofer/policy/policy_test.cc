#include "netgofer/policy/policy.h"

#include <gtest/gtest.h>

#include <random>

#include "netgofer/policy/pins.h"

namespace netgofer {
namespace {

Endpoint At(const char* address, uint16_t port = 443) {
  return {.address = ParseAddress(address).value(), .port = port};
}

Rule Allow(std::initializer_list<const char*> prefixes, std::vector<PortRange> ports = {}) {
  Rule r{.allow = true, .ports = std::move(ports)};
  for (const char* p : prefixes) r.prefixes.push_back(ParsePrefix(p).value());
  return r;
}

Rule AllowName(const char* pattern) { return {.allow = true, .domains = {pattern}}; }

bool Allows(const Policy& p, const char* address, uint16_t port = 443, uint8_t protocol = kTcp,
            std::vector<std::string> names = {}) {
  return Judge(p, protocol, At(address, port), names).allowed;
}

TEST(Prefix, Parses) {
  EXPECT_EQ(ParsePrefix("10.0.0.0/8")->bits, 104);
  EXPECT_EQ(ParsePrefix("10.1.2.3")->bits, 128);
  EXPECT_EQ(ParsePrefix("::/0")->bits, 0);
  for (const char* bad : {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "1.2.3", "",
                          "2001:db8::1/32", "::/129", "010.0.0.1", "a.b.c.d", "10.0.0.0/8/8"}) {
    EXPECT_FALSE(ParsePrefix(bad)) << bad;
  }
  EXPECT_EQ(ToText(*ParseAddress("::ffff:1.2.3.4")), "1.2.3.4");
  EXPECT_EQ(ToText(*ParseAddress("2001:DB8::1")), "2001:db8::1");
}

TEST(Prefix, FamiliesStayApart) {
  EXPECT_TRUE(ParsePrefix("0.0.0.0/0")->Contains(*ParseAddress("1.2.3.4")));
  EXPECT_FALSE(ParsePrefix("0.0.0.0/0")->Contains(*ParseAddress("2001:db8::1")));
  EXPECT_FALSE(ParsePrefix("::/0")->Contains(*ParseAddress("1.2.3.4")));
  EXPECT_TRUE(ParsePrefix("172.16.0.0/12")->Contains(*ParseAddress("172.31.255.255")));
  EXPECT_FALSE(ParsePrefix("172.16.0.0/12")->Contains(*ParseAddress("172.32.0.0")));
}

TEST(Judge, FirstMatchDecides) {
  Policy p{.rules = {Allow({"10.1.0.0/16"}, {{80, 80}, {8000, 8080}}), Allow({"10.0.0.0/8"})}};
  p.rules[1].allow = false;
  p.rules.push_back(Allow({}));
  EXPECT_TRUE(Allows(p, "10.1.2.3", 80));
  EXPECT_TRUE(Allows(p, "10.1.2.3", 8080));
  EXPECT_FALSE(Allows(p, "10.1.2.3", 8081));
  EXPECT_FALSE(Allows(p, "10.2.2.3", 80));
  EXPECT_TRUE(Allows(p, "192.0.2.1", 80));
  EXPECT_EQ(Judge(p, kTcp, At("10.2.0.1"), {}).rule, 1);
}

TEST(Judge, Defaults) {
  EXPECT_FALSE(Allows({}, "192.0.2.1"));
  EXPECT_TRUE(Allows({.allow_by_default = true}, "192.0.2.1"));
}

TEST(Judge, Protocols) {
  Policy p{.rules = {Allow({"192.0.2.0/24"}), Allow({"192.0.3.0/24"}, {{1, 65535}})}};
  p.rules[0].protocols = kUdp;
  EXPECT_FALSE(Allows(p, "192.0.2.1"));
  EXPECT_TRUE(Allows(p, "192.0.2.1", 443, kUdp));
  // A rule with ports says nothing about ICMP.
  EXPECT_FALSE(Allows(p, "192.0.3.1", 0, kIcmp));
}

TEST(Judge, MappedAddressesAreIpv4) {
  Policy p{.allow_by_default = true, .rules = {Allow({"10.0.0.0/8"})}};
  p.rules[0].allow = false;
  for (const char* a : {"10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"}) {
    EXPECT_FALSE(Allows(p, a)) << a;
  }
  EXPECT_TRUE(Allows(p, "2001:db8::1"));
}

TEST(Judge, UnspecifiedIsLoopback) {
  Policy p{.rules = {Allow({"127.0.0.0/8"}), Allow({"::1"})}};
  EXPECT_TRUE(Allows(p, "0.0.0.0"));
  EXPECT_TRUE(Allows(p, "::"));
}

TEST(Judge, MetadataNeedsARuleOfItsOwn) {
  Policy p{.allow_by_default = true, .rules = {Allow({"0.0.0.0/0", "::/0"}), Allow({})}};
  for (const char* a : {"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254",
                        "169.254.1.1", "fe80::1", "fd00:ec2::254", "168.63.129.16"}) {
    EXPECT_FALSE(Allows(p, a)) << a;
    EXPECT_FALSE(Allows(p, a, 443, kTcp, {"a.example"})) << a;
  }
  EXPECT_TRUE(Allows(p, "192.0.2.1"));
  p.rules.push_back(Allow({"169.254.169.254", "169.254.0.0/15"}));
  EXPECT_TRUE(Allows(p, "169.254.169.254"));
  EXPECT_FALSE(Allows(p, "169.254.1.1"));
}

TEST(Judge, Names) {
  Policy p{.rules = {AllowName("*.example.com"), AllowName("example.org")}};
  p.rules[0].ports = {{443, 443}};
  EXPECT_FALSE(Allows(p, "192.0.2.1"));
  EXPECT_TRUE(Allows(p, "192.0.2.1", 443, kTcp, {"www.example.com"}));
  EXPECT_FALSE(Allows(p, "192.0.2.1", 80, kTcp, {"www.example.com"}));
  EXPECT_FALSE(Allows(p, "192.0.2.1", 443, kTcp, {"example.com"}));
  EXPECT_TRUE(Allows(p, "192.0.2.1", 80, kTcp, {"x.test", "example.org"}));
}

TEST(Judge, LookUps) {
  Policy p{.allow_by_default = true,
           .rules = {AllowName("secret.example.com"), AllowName("*.example.com")}};
  p.rules[0].allow = false;
  EXPECT_FALSE(JudgeName(p, "secret.example.com").allowed);
  EXPECT_TRUE(JudgeName(p, "a.b.example.com").allowed);
  EXPECT_EQ(JudgeName(p, "example.net").rule, -1);
}

TEST(Judge, Rebinding) {
  Policy p{.allow_by_default = true, .rules = {AllowName("*")}};
  for (const char* a :
       {"10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "100.64.0.1",
        "172.16.0.1", "::1", "::", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1",
        "224.0.0.1", "2002:a00:1::", "168.63.129.16", "fd00:ec2::254", "100.100.100.200"}) {
    EXPECT_FALSE(MayResolveTo(p, *ParseAddress(a))) << a;
  }
  EXPECT_TRUE(MayResolveTo(p, *ParseAddress("93.184.216.34")));
  EXPECT_TRUE(MayResolveTo(p, *ParseAddress("2606:4700::1")));
  p.rules.push_back(Allow({"10.0.0.0/8"}));
  EXPECT_TRUE(MayResolveTo(p, *ParseAddress("10.0.0.1")));
  EXPECT_FALSE(MayResolveTo(p, *ParseAddress("192.168.1.1")));
}

TEST(Pattern, Normal) {
  EXPECT_EQ(NormalPattern("*.Example.COM."), "*.example.com");
  EXPECT_EQ(NormalPattern("*"), "*");
  EXPECT_EQ(NormalPattern("_dmarc.example.com"), "_dmarc.example.com");
  for (const char* bad : {"", ".", "*.", "a..b", "a.*.b", "*a.b", "**", "a b", "ex\xc3\xa4mple.com",
                          ".example.com", "*.*.com", "http://a"}) {
    EXPECT_FALSE(NormalPattern(bad)) << bad;
  }
  EXPECT_FALSE(NormalPattern(std::string(64, 'a')));
  EXPECT_TRUE(MatchesPattern("*.example.com", "a.b.example.com"));
  EXPECT_FALSE(MatchesPattern("*.example.com", "badexample.com"));
  EXPECT_FALSE(MatchesPattern("*.example.com", ".example.com."));
}

Policy Sample() {
  Policy p{.allow_by_default = true, .log = LogDecisions::kAll};
  p.limits = {.connections = 1,
              .connections_per_second = 2,
              .datagrams_per_second = 3,
              .upload_bytes_per_second = 4};
  p.resolvers = {*ParseAddress("127.0.0.11")};
  p.rules = {Allow({"10.0.0.0/8", "2001:db8::/32"}, {{1, 2}, {3, 3}}), AllowName("*.example.com")};
  p.rules[1].protocols = kTcp;
  return p;
}

TEST(Codec, RoundTrip) {
  const std::vector<uint8_t> data = Encode(Sample());
  Policy p;
  ASSERT_TRUE(Decode(data, &p));
  EXPECT_EQ(Encode(p), data);
  EXPECT_TRUE(p.allow_by_default);
  EXPECT_EQ(p.limits.upload_bytes_per_second, 4u);
  ASSERT_EQ(p.rules.size(), 2u);
  EXPECT_EQ(p.rules[0].prefixes[1].bits, 32);
  EXPECT_EQ(p.rules[1].domains[0], "*.example.com");
  EXPECT_FALSE(Decode({data.data(), data.size() - 1}, &p));
  std::vector<uint8_t> more = data;
  more.push_back(0);
  EXPECT_FALSE(Decode(more, &p));
}

TEST(Codec, TooLarge) {
  Policy p;
  p.rules.resize(kMaxRules);
  for (Rule& r : p.rules) r.domains.assign(4, std::string(50, 'a'));
  EXPECT_TRUE(Encode(p).empty());
}

// Whatever is decoded is a policy that can be judged by, and coded again.
TEST(Codec, Mutations) {
  std::mt19937 random(1);
  const std::vector<uint8_t> good = Encode(Sample());
  int decoded = 0;
  for (int i = 0; i < 20000; i++) {
    std::vector<uint8_t> data = good;
    for (int n = 1 + static_cast<int>(random() % 3); n > 0; n--) {
      data[random() % data.size()] ^= static_cast<uint8_t>(1u << random() % 8);
    }
    if (random() % 4 == 0) data.resize(random() % data.size());
    Policy p;
    if (!Decode(data, &p)) continue;
    decoded++;
    EXPECT_EQ(Encode(p), data);
    Allows(p, "10.1.1.1", 2, kTcp, {"a.example.com"});
    MayResolveTo(p, *ParseAddress("10.1.1.1"));
  }
  EXPECT_GT(decoded, 100);
}

TEST(Pins, ExpireAndAreBounded) {
  Pins pins;
  const Address a = *ParseAddress("192.0.2.1");
  pins.Add(a, "a.test", 0, 100);
  pins.Add(a, "b.test", 0, 200);
  pins.Add(a, "a.test", 50, 90);  // not shortened
  EXPECT_EQ(pins.NamesOf(a, 99).size(), 2u);
  EXPECT_EQ(pins.NamesOf(a, 100), std::vector<std::string>{"b.test"});
  EXPECT_TRUE(pins.NamesOf(a, 200).empty());
  for (uint32_t i = 0; i < 2 * Pins::kMaxAddresses; i++) pins.Add(Address::V4(i), "c.test", 0, 300);
  EXPECT_EQ(pins.size(), Pins::kMaxAddresses);
  pins.Add(Address::V4(1u << 31), "d.test", 300, 400);
  EXPECT_EQ(pins.size(), 1u);
  for (int i = 0; i < 100; i++) pins.Add(a, std::to_string(i), 300, 400 + i);
  EXPECT_EQ(pins.NamesOf(a, 300).size(), Pins::kMaxNames);
}

}  // namespace
}  // namespace netgofer
