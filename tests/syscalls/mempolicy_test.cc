// NUMA memory policies, as far as a machine of one node shows them.
#include <linux/mempolicy.h>
#include <sys/mman.h>

#include "tests/syscalls/test_util.h"

namespace {

long SetPolicy(int mode, const unsigned long* mask, unsigned long maxnode) {
  return syscall(SYS_set_mempolicy, mode, mask, maxnode);
}
long GetPolicy(int* mode, unsigned long* mask, unsigned long maxnode, void* addr,
               unsigned long flags) {
  return syscall(SYS_get_mempolicy, mode, mask, maxnode, addr, flags);
}

bool OneNode() { return ReadFile("/sys/devices/system/node/online") == "0\n"; }

TEST(Mempolicy, SetAndGet) {
  COVERS("set_mempolicy", "get_mempolicy");
  EXPECT_CHILD([] {
    int mode = 77;
    unsigned long none = 0, first = 1, second = 2, both[16] = {};
    CHILD_OK(GetPolicy(&mode, nullptr, 0, nullptr, 0));
    CHILD_EQ(mode, MPOL_DEFAULT);
    CHILD_ERR(SetPolicy(99, nullptr, 0), EINVAL);
    CHILD_ERR(SetPolicy(-1, nullptr, 0), EINVAL);
    CHILD_ERR(SetPolicy(MPOL_DEFAULT, &first, 64), EINVAL);
    CHILD_ERR(SetPolicy(MPOL_BIND, &none, 64), EINVAL);
    CHILD_ERR(SetPolicy(MPOL_LOCAL, &first, 64), EINVAL);
    CHILD_ERR(SetPolicy(MPOL_BIND, reinterpret_cast<unsigned long*>(8), 64), EFAULT);
    CHILD_ERR(SetPolicy(MPOL_BIND, &first, 1ul << 40), EINVAL);
    CHILD_ERR(SetPolicy(MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, &first, 64),
              EINVAL);
    CHILD_OK(SetPolicy(MPOL_BIND, &first, 64));
    CHILD_OK(GetPolicy(&mode, both, 1024, nullptr, 0));
    CHILD_EQ(mode, MPOL_BIND);
    CHILD_EQ(both[0], 1);
    CHILD_OK(SetPolicy(MPOL_PREFERRED, nullptr, 0));
    CHILD_OK(GetPolicy(&mode, nullptr, 0, nullptr, 0));
    CHILD_EQ(mode, MPOL_LOCAL);
    CHILD_OK(GetPolicy(nullptr, both, 1024, nullptr, MPOL_F_MEMS_ALLOWED));
    CHILD_CHECK((both[0] & 1) != 0);
    CHILD_ERR(GetPolicy(&mode, nullptr, 0, &mode, 0), EINVAL);
    CHILD_ERR(GetPolicy(&mode, nullptr, 0, nullptr, 8), EINVAL);
    CHILD_ERR(GetPolicy(&mode, nullptr, 0, nullptr, MPOL_F_ADDR), EFAULT);
    CHILD_OK(GetPolicy(&mode, nullptr, 0, &mode, MPOL_F_ADDR | MPOL_F_NODE));
    if (OneNode()) {
      CHILD_EQ(mode, 0);
      CHILD_ERR(SetPolicy(MPOL_BIND, &second, 64), EINVAL);
    }
  });
}

TEST(Mempolicy, Mbind) {
  COVERS("mbind");
  EXPECT_CHILD([] {
    long page = PageSize();
    char* p = static_cast<char*>(
        mmap(nullptr, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHILD_CHECK(p != MAP_FAILED);
    unsigned long first = 1;
    auto bind = [&](char* at, long len, int mode, unsigned flags) {
      return syscall(SYS_mbind, at, len, mode, mode == MPOL_DEFAULT ? nullptr : &first,
                     mode == MPOL_DEFAULT ? 0 : 64, flags);
    };
    CHILD_OK(bind(p, 3 * page, MPOL_BIND, 0));
    CHILD_OK(bind(p, 3 * page, MPOL_DEFAULT, 0));
    CHILD_OK(bind(p, 0, MPOL_BIND, 0));
    CHILD_ERR(bind(p + 1, page, MPOL_BIND, 0), EINVAL);
    CHILD_ERR(bind(p, page, MPOL_BIND, 64), EINVAL);
    CHILD_ERR(bind(p, page, 99, 0), EINVAL);
    CHILD_OK(munmap(p + page, page));
    CHILD_ERR(bind(p, 3 * page, MPOL_BIND, 0), EFAULT);
  });
}

}  // namespace
