// LLVMFuzzerTestOneInput feeds the DNS parsers; here with mutated messages. With -DMOAT_FUZZER and
// -fsanitize=fuzzer the same file is a fuzzer.
#include <cstdlib>
#include <random>

#include "netgofer/policy/dns.h"
#include "netgofer/policy/dns_testing.h"
#ifndef MOAT_FUZZER
#include <gtest/gtest.h>
#endif

// Input: a byte that says how much of the rest is the query, the query, the answer.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace netgofer::dns;
  if (size == 0) return 0;
  const size_t n = std::min<size_t>(data[0] * 2, size - 1);
  Query q;
  bool ignore = false;
  const Rcode r = ParseQuery({data + 1, n}, &q, &ignore);
  if (ignore) return 0;
  MakeError(q, r);
  if (r != Rcode::kNoError) return 0;
  // What is passed on is itself a good question.
  const std::vector<uint8_t> again = MakeQuery(q, q.id);
  Query second;
  if (ParseQuery(again, &second, &ignore) != Rcode::kNoError || second.name != q.name ||
      MakeQuery(second, q.id) != again) {
    abort();
  }
  Answer answer;
  if (ParseAnswer({data + 1 + n, size - 1 - n}, q, q.id, &answer) &&
      answer.addresses.size() * 11 > size) {
    abort();
  }
  return 0;
}

#ifndef MOAT_FUZZER
namespace netgofer::dns {
namespace {

TEST(Fuzz, Mutations) {
  std::mt19937 random(1);
  testing::Message query(7, 0x0100), answer(7, 0x8180);
  query.Question("www.a.test", 1).Edns(1232, 0, {0, 8, 0, 1, 9});
  answer.Question("www.a.test", 1).Cname("www.a.test", "b.test").A("b.test", 0xc0000201, 5);
  answer.Pointer(12, 1, {1, 2, 3, 4});
  std::vector<uint8_t> good = {static_cast<uint8_t>(query.bytes().size() / 2)};
  if (query.bytes().size() % 2 != 0) GTEST_FAIL() << "an even number of bytes is wanted";
  good.insert(good.end(), query.bytes().begin(), query.bytes().end());
  good.insert(good.end(), answer.bytes().begin(), answer.bytes().end());
  for (int i = 0; i < 200000; i++) {
    std::vector<uint8_t> input = good;
    for (unsigned n = random() % 4; n > 0; n--) {
      uint8_t& b = input[1 + random() % (input.size() - 1)];
      b = random() % 3 == 0 ? static_cast<uint8_t>(random()) : random() % 2 == 0 ? 0xc0 : b ^ 1;
    }
    if (random() % 8 == 0) input.resize(1 + random() % (input.size() - 1));
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

}  // namespace
}  // namespace netgofer::dns
#endif
