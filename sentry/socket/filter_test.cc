#include "sentry/socket/filter.h"

#include <gtest/gtest.h>

#include "sentry/kernel/bpf_testing.h"
#include "syscalls/abi/bpf.h"

namespace sentry {
namespace {

using testing::Jump;
using testing::kRet;
using testing::Program;
using testing::Stmt;

constexpr int32_t kRetA = abi::kBPF_RET | abi::kBPF_A;
constexpr int32_t kHalf = abi::kBPF_LD | abi::kBPF_H | abi::kBPF_ABS;

// Dropped: -1.
int64_t Filtered(const Program& p, std::vector<uint8_t> data, FilterInput in = {}) {
  auto f = SocketFilter::Create(p);
  EXPECT_TRUE(f.ok());
  in.data = data;
  if (!f.ok()) return -2;
  const std::optional<size_t> keep = (*f)->Run(in);
  return keep ? static_cast<int64_t>(*keep) : -1;
}

TEST(SocketFilter, KeepsWhatItSays) {
  EXPECT_EQ(Filtered({Stmt(kRet, 2)}, {1, 2, 3}), 2);
  EXPECT_EQ(Filtered({Stmt(kRet, UINT32_MAX)}, {1, 2, 3}), 3);
  EXPECT_EQ(Filtered({Stmt(kRet, 5)}, {}), 0);  // an empty message
  EXPECT_EQ(Filtered({Stmt(kRet, 0)}, {1, 2, 3}), -1);
}

TEST(SocketFilter, LoadsInNetworkOrder) {
  const Program port = {Stmt(kHalf, 2), Jump(abi::kBPF_JMP | abi::kBPF_JEQ, 0x0102, 0, 1),
                        Stmt(kRet, 9), Stmt(kRet, 0)};
  EXPECT_EQ(Filtered(port, {0, 0, 1, 2, 0, 0, 0, 0, 0, 0}), 9);
  EXPECT_EQ(Filtered(port, {0, 0, 2, 1}), -1);
  // A load beyond the end drops the message.
  EXPECT_EQ(Filtered(port, {0, 0, 1}), -1);
}

TEST(SocketFilter, HeaderLengthAndComputedPlaces) {
  const Program p = {Stmt(abi::kBPF_LDX | abi::kBPF_B | abi::kBPF_MSH, 0),
                     Stmt(abi::kBPF_LD | abi::kBPF_B | abi::kBPF_IND, 1), Stmt(kRetA, 0)};
  // An "IP header" of one word: the byte after it and one more.
  EXPECT_EQ(Filtered(p, {0x41, 0, 0, 0, 0, 3}), 3);
}

TEST(SocketFilter, WhereAMessageCameFrom) {
  FilterInput in;
  in.ethertype = 0x800;
  in.interface = 7;
  const auto at = [](int32_t extension) {
    return static_cast<uint32_t>(abi::kSKF_AD_OFF + extension);
  };
  const std::vector<uint8_t> data(4000);
  EXPECT_EQ(Filtered({Stmt(kHalf, at(abi::kSKF_AD_PROTOCOL)), Stmt(kRetA, 0)}, data, in), 0x800);
  EXPECT_EQ(Filtered({Stmt(kHalf, at(abi::kSKF_AD_IFINDEX)), Stmt(kRetA, 0)}, data, in), 7);
  const uint8_t header[] = {5};
  in.network = header;
  EXPECT_EQ(Filtered({Stmt(abi::kBPF_LD | abi::kBPF_B | abi::kBPF_ABS,
                           static_cast<uint32_t>(abi::kSKF_NET_OFF)),
                      Stmt(kRetA, 0)},
                     data, in),
            5);
  EXPECT_FALSE(SocketFilter::Create({Stmt(kHalf, at(abi::kSKF_AD_NLATTR)), Stmt(kRetA, 0)}).ok());
}

TEST(SocketFilter, RemainderAndDivisionByNothing) {
  const int32_t kMod = abi::kBPF_ALU | abi::kBPF_MOD, kImm = abi::kBPF_LD | abi::kBPF_IMM;
  const std::vector<uint8_t> data(10);
  EXPECT_EQ(Filtered({Stmt(kImm, 17), Stmt(kMod, 10), Stmt(kRetA, 0)}, data), 7);
  EXPECT_EQ(Filtered({Stmt(kImm, 17), Stmt(kMod | abi::kBPF_X, 0), Stmt(kRetA, 0)}, data), -1);
  EXPECT_FALSE(SocketFilter::Create({Stmt(kMod, 0), Stmt(kRetA, 0)}).ok());
  EXPECT_FALSE(SocketFilter::Create({}).ok());
}

}  // namespace
}  // namespace sentry
