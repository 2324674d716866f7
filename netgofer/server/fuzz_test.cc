// LLVMFuzzerTestOneInput feeds one connection's messages to the server; here with random and with
// mutated valid messages. With -DMOAT_FUZZER and -fsanitize=fuzzer the same file is a fuzzer.
#include <cstring>
#include <random>

#include "netgofer/server/testing.h"
#ifndef MOAT_FUZZER
#include <gtest/gtest.h>
#endif

// Input: messages, each a uint16 length and so many bytes. Nothing leaves: the policy denies all.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) abort();
  base::UniqueFd near(fds[0]);
  netgofer::ServerOptions o;
  o.socket.reset(fds[1]);
  o.policy.emplace();
  netgofer::Server server(std::move(o));
  if (server.Open() != 0) abort();
  while (size >= 2) {
    const size_t n = std::min<size_t>(data[0] | data[1] << 8, size - 2);
    if (!server.Handle({data + 2, n})) break;
    // Taken as the sentry would, with what was donated closed by the kernel.
    char reply[256];
    while (recv(near.get(), reply, sizeof reply, MSG_TRUNC) > 0) {
    }
    data += 2 + n;
    size -= 2 + n;
  }
  return 0;
}

#ifndef MOAT_FUZZER
namespace netgofer {
namespace {

TEST(Fuzz, RandomBytes) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; i++) {
    std::vector<uint8_t> input(random() % 300);
    for (uint8_t& b : input) b = static_cast<uint8_t>(random() % 3 == 0 ? random() % 24 : 0);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

TEST(Fuzz, MutatedMessages) {
  std::mt19937 random(2);
  auto below = [&](unsigned n) { return static_cast<uint32_t>(random() % n); };
  const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, 47};
  const char* addresses[] = {"127.0.0.1", "::1", "0.0.0.0", "::", "224.0.0.1", "1.2.3.4"};
  for (int i = 0; i < 2000; i++) {
    std::vector<uint8_t> input;
    for (int k = 0; k < 10; k++) {
      uint8_t buffer[512];
      wire::Writer w(buffer);
      const uint32_t op = 1 + below(7);
      w.Put(wire::RequestHeader{.op = op, .reserved = 0, .id = below(5)});
      const uint8_t options = static_cast<uint8_t>(below(3));
      if (op <= 3) {
        w.Put(wire::SocketRequest{
            .local = testing::At(addresses[below(6)], static_cast<uint16_t>(below(2) * 40000)),
            .remote = testing::At(addresses[below(6)], static_cast<uint16_t>(below(100))),
            .backlog = below(10),
            .protocol = protocols[below(5)],
            .v6only = static_cast<uint8_t>(below(2)),
            .ipv6 = static_cast<uint8_t>(below(2)),
            .options = options});
      }
      for (uint8_t n = 0; n < (op <= 3 ? options : op == 4); n++) {
        w.Put(
            wire::OptionHead{static_cast<int32_t>(below(45)), static_cast<int32_t>(below(60)), 4});
        w.Put(below(3));
      }
      if (below(4) == 0) buffer[below(static_cast<unsigned>(w.size()))] ^= 1u << below(8);
      input.push_back(static_cast<uint8_t>(w.size()));
      input.push_back(static_cast<uint8_t>(w.size() >> 8));
      input.insert(input.end(), buffer, buffer + w.size());
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

}  // namespace
}  // namespace netgofer
#endif
