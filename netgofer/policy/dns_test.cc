#include "netgofer/policy/dns.h"

#include <gtest/gtest.h>

#include <functional>

#include "netgofer/policy/dns_testing.h"

namespace netgofer::dns {
namespace {

using Bytes = std::vector<uint8_t>;
using testing::Message;

Bytes PlainQuery(const char* name, uint16_t type = 1) {
  return Message(7, 0x0100).Question(name, type).bytes();
}

Rcode Parse(const Bytes& message, Query* q) {
  bool ignore = false;
  const Rcode r = ParseQuery(message, q, &ignore);
  EXPECT_FALSE(ignore);
  return r;
}

TEST(Query, Plain) {
  Query q;
  ASSERT_EQ(Parse(PlainQuery("WWW.Example.com", 28), &q), Rcode::kNoError);
  EXPECT_EQ(q.name, "www.example.com");
  EXPECT_EQ(q.type, 28);
  EXPECT_EQ(q.id, 7);
  EXPECT_FALSE(q.edns);
  const Bytes again = MakeQuery(q, 9);
  EXPECT_EQ(again, Message(9, 0x0100).Question("WWW.Example.com", 28).bytes());
}

TEST(Query, OptionsStayInside) {
  Message m(7, 0x0120);
  m.Question("a.test", 1).Edns(1232, 0x8000, {0, 8, 0, 4, 1, 2, 3, 4});
  Query q;
  ASSERT_EQ(Parse(m.bytes(), &q), Rcode::kNoError);
  EXPECT_EQ(q.udp_size, 1232);
  EXPECT_TRUE(q.dnssec_ok);
  EXPECT_EQ(MakeQuery(q, 7),
            Message(7, 0x0120).Question("a.test", 1).Edns(1232, 0x8000, {}).bytes());
  q = {};
  Message large(7, 0x0100);
  large.Question("a.test", 1).Edns(65000, 0, {});
  ASSERT_EQ(Parse(large.bytes(), &q), Rcode::kNoError);
  EXPECT_EQ(q.udp_size, kMaxDatagram);
}

TEST(Query, Refused) {
  Query q;
  EXPECT_EQ(Parse(Message(7, 0x0100).bytes(), &q), Rcode::kFormatError);
  EXPECT_EQ(Parse(Message(7, 0x2900).Question("a.test", 6).bytes(), &q), Rcode::kNotImplemented);
  for (uint16_t type : {251, 252, 255, 0, 41}) {
    EXPECT_EQ(Parse(PlainQuery("a.test", type), &q), Rcode::kNotImplemented) << type;
  }
  Bytes two = Message(7, 0x0100).Question("a.test", 1).Question("b.test", 1).bytes();
  EXPECT_EQ(Parse(two, &q), Rcode::kFormatError);
  Bytes longer = PlainQuery("a.test");
  longer.push_back(0);
  EXPECT_EQ(Parse(longer, &q), Rcode::kFormatError);
  for (const char* name : {"a b.test", "a/b", "\x01.test"}) {
    EXPECT_EQ(Parse(PlainQuery(name), &q), Rcode::kFormatError) << name;
  }
  Bytes answers = PlainQuery("a.test");
  answers[7] = 1;
  EXPECT_EQ(Parse(answers, &q), Rcode::kFormatError);
  // A name that points at itself.
  Bytes pointer = Message(7, 0x0100).bytes();
  pointer[5] = 1;
  for (int b : {0xc0, 12, 0, 1, 0, 1}) pointer.push_back(static_cast<uint8_t>(b));
  EXPECT_EQ(Parse(pointer, &q), Rcode::kFormatError);
}

TEST(Query, Ignored) {
  Query q;
  bool ignore = false;
  ParseQuery(Bytes(11), &q, &ignore);
  EXPECT_TRUE(ignore);
  ParseQuery(Message(7, 0x8180).Question("a.test", 1).bytes(), &q, &ignore);
  EXPECT_TRUE(ignore);
}

TEST(Query, Errors) {
  Query q;
  Parse(PlainQuery("a.test"), &q);
  const Bytes refused = MakeError(q, Rcode::kRefused);
  EXPECT_EQ(refused, Message(7, 0x8185).Question("a.test", 1).bytes());
}

class Answers : public ::testing::Test {
 protected:
  void SetUp() override { Parse(PlainQuery("a.test"), &q_); }
  Message Reply(const char* name = "a.test", uint16_t type = 1) {
    return Message(9, 0x8180).Question(name, type);
  }
  bool Sound(const Message& m) { return ParseAnswer(m.bytes(), q_, 9, &answer_); }
  Query q_;
  Answer answer_;
};

TEST_F(Answers, Addresses) {
  ASSERT_TRUE(Sound(Reply("A.TEST").A("a.test", 0xc0000201, 300).A("A.test", 0xc0000202, 60)));
  ASSERT_EQ(answer_.addresses.size(), 2u);
  EXPECT_EQ(ToText(answer_.addresses[1].address), "192.0.2.2");
  EXPECT_EQ(answer_.addresses[0].ttl, 300u);
}

TEST_F(Answers, Aliases) {
  // In any order, with names that point back.
  Message m = Reply();
  m.A("c.test", 0xc0000201, 1).Cname("b.test", "c.test").Cname("a.test", "b.test");
  ASSERT_TRUE(Sound(m));
  EXPECT_EQ(answer_.addresses.size(), 1u);
  Message circle = Reply();
  circle.Cname("a.test", "b.test").Cname("b.test", "a.test");
  EXPECT_TRUE(Sound(circle));
  Message many = Reply();
  std::string from = "a.test";
  for (int i = 0; i < 40; i++) {
    const std::string to = "n" + std::to_string(i) + ".test";
    many.Cname(from.c_str(), to.c_str());
    from = to;
  }
  EXPECT_FALSE(Sound(many));
}

TEST_F(Answers, WhatWasNotAsked) {
  EXPECT_FALSE(Sound(Reply().A("other.test", 0xc0000201, 1)));
  EXPECT_FALSE(Sound(Reply("b.test").A("b.test", 0xc0000201, 1)));
  EXPECT_FALSE(Sound(Reply("a.test", 28)));
  EXPECT_FALSE(ParseAnswer(Reply().bytes(), q_, 8, &answer_));
  EXPECT_FALSE(Sound(Message(9, 0x0100).Question("a.test", 1)));
  EXPECT_FALSE(Sound(Message(9, 0x8180)));
}

TEST_F(Answers, Malformed) {
  EXPECT_TRUE(Sound(Reply().Pointer(12, 1, {192, 0, 2, 1})));
  EXPECT_EQ(answer_.addresses.size(), 1u);
  EXPECT_FALSE(Sound(Reply().Pointer(12, 1, {192, 0, 2})));
  EXPECT_FALSE(Sound(Reply().Pointer(12, 28, {192, 0, 2, 1})));
  EXPECT_FALSE(Sound(Reply().Pointer(400, 1, {192, 0, 2, 1})));
  EXPECT_FALSE(Sound(Reply().Pointer(2, 1, {192, 0, 2, 1})));
  Bytes cut = Reply().A("a.test", 0xc0000201, 1).bytes();
  for (size_t n = 0; n < cut.size(); n++) {
    EXPECT_FALSE(ParseAnswer({cut.data(), n}, q_, 9, &answer_)) << n;
  }
  cut.push_back(0);
  EXPECT_FALSE(ParseAnswer(cut, q_, 9, &answer_));
}

TEST_F(Answers, Truncated) {
  Bytes m = Message(9, 0x8380).Question("a.test", 1).A("a.test", 0xc0000201, 1).bytes();
  m.resize(m.size() - 2);
  ASSERT_TRUE(ParseAnswer(m, q_, 9, &answer_));
  EXPECT_TRUE(answer_.truncated);
  EXPECT_TRUE(answer_.addresses.empty());
}

}  // namespace
}  // namespace netgofer::dns
