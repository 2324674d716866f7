// NUMA memory policy (mm/mempolicy.c) on a machine of one node, node 0: policies are checked, kept
// and told, and make no difference.
#include <algorithm>
#include <vector>

#include "sentry/kernel/kernel.h"
#include "syscalls/abi/capability.h"
#include "syscalls/abi/mman.h"
#include "syscalls/linux/sys.h"
#include "syscalls/table/table.h"

namespace syscalls {

namespace {

constexpr uint64_t kPage = sentry::kPageSize;
constexpr uint64_t kMaxNodes = 1024;  // MAX_NUMNODES
constexpr int32_t kModeFlags =
    abi::kMPOL_F_STATIC_NODES | abi::kMPOL_F_RELATIVE_NODES | abi::kMPOL_F_NUMA_BALANCING;

struct Policy {
  int32_t mode = abi::kMPOL_DEFAULT, flags = 0;
};

struct Nodes {
  bool any = false, first = false;  // a node; node 0
};

// get_nodes().
base::Result<Nodes> GetNodes(Task& task, UserAddr mask, uint64_t maxnode) {
  Nodes n;
  --maxnode;
  if (maxnode == 0 || maxnode == UINT64_MAX || mask.null()) return n;
  if (maxnode > kPage * 8) return abi::Errno::kEINVAL;
  std::vector<uint64_t> words((maxnode + 63) / 64);
  TRY(task.mm().CopyIn(words.data(), mask, words.size() * sizeof(uint64_t)));
  if (maxnode % 64 != 0) words.back() &= (uint64_t{1} << (maxnode % 64)) - 1;
  for (size_t i = 0; i < words.size(); i++) {
    if (words[i] == 0) continue;
    if (i >= kMaxNodes / 64) return abi::Errno::kEINVAL;
    n.any = true;
  }
  n.first = (words[0] & 1) != 0;
  return n;
}

// sanitize_mpol_flags().
base::Result<Policy> Split(int32_t mode) {
  Policy p{mode & ~kModeFlags, mode & kModeFlags};
  if (p.mode < 0 ||
      Lookup(FlagSet::mempolicy, static_cast<uint64_t>(p.mode)) == Support::kRefused) {
    return abi::Errno::kEINVAL;
  }
  constexpr int32_t kBoth = abi::kMPOL_F_STATIC_NODES | abi::kMPOL_F_RELATIVE_NODES;
  if ((p.flags & kBoth) == kBoth) return abi::Errno::kEINVAL;
  if ((p.flags & abi::kMPOL_F_NUMA_BALANCING) != 0 && p.mode != abi::kMPOL_BIND) {
    return abi::Errno::kEINVAL;
  }
  return p;
}

// mpol_new() and mpol_set_nodemask().
base::Result<Policy> Make(Policy p, Nodes n) {
  bool placed = (p.flags & (abi::kMPOL_F_STATIC_NODES | abi::kMPOL_F_RELATIVE_NODES)) != 0;
  switch (p.mode) {
    case abi::kMPOL_DEFAULT:
      if (n.any) return abi::Errno::kEINVAL;
      return Policy{};
    case abi::kMPOL_LOCAL:
      if (n.any || placed) return abi::Errno::kEINVAL;
      return p;
    case abi::kMPOL_PREFERRED:
      if (!n.any) {
        if (placed) return abi::Errno::kEINVAL;
        p.mode = abi::kMPOL_LOCAL;
        return p;
      }
      break;
    default:
      if (!n.any) return abi::Errno::kEINVAL;
      break;
  }
  // Relative nodes wrap around those that exist.
  bool exists = n.first || (p.flags & abi::kMPOL_F_RELATIVE_NODES) != 0;
  if (!exists) return abi::Errno::kEINVAL;
  return p;
}

bool AllMapped(Task& task, uint64_t start, uint64_t end) {
  for (const sentry::Vma& v : task.mm().Vmas()) {
    if (v.end <= start) continue;
    if (v.start > start) return false;
    start = v.end;
    if (start >= end) return true;
  }
  return false;
}

// copy_nodes_to_user() of node 0 or of no node.
base::Result<void> StoreNodes(Task& task, UserAddr mask, uint64_t maxnode, bool first) {
  uint64_t bytes = ((maxnode - 1 + 63) & ~uint64_t{63}) / 8;
  uint64_t word = first ? 1 : 0;
  if (bytes > sizeof word) {
    if (bytes > kPage) return abi::Errno::kEINVAL;
    uint64_t rest = bytes - sizeof word;
    if (task.mm().ZeroPartial(mask + sizeof word, rest) != rest) return abi::Errno::kEFAULT;
    bytes = sizeof word;
  }
  return task.mm().CopyOut(mask, &word, bytes);
}

}  // namespace

SyscallResult sys_set_mempolicy(Task& task, int32_t mode, UserAddr nmask, uint64_t maxnode) {
  Policy p = TRY(Split(mode));
  Nodes n = TRY(GetNodes(task, nmask, maxnode));
  p = TRY(Make(p, n));
  task.mempolicy = p.mode | p.flags;
  return 0;
}

SyscallResult sys_get_mempolicy(Task& task, UserAddr policy, UserAddr nmask, uint64_t maxnode,
                                UserAddr addr, uint64_t flags) {
  constexpr uint64_t kNode = abi::kMPOL_F_NODE, kAddr = abi::kMPOL_F_ADDR,
                     kAllowed = abi::kMPOL_F_MEMS_ALLOWED;
  if (!nmask.null() && maxnode < 1) return abi::Errno::kEINVAL;
  if ((flags & ~(kNode | kAddr | kAllowed)) != 0) return abi::Errno::kEINVAL;
  int32_t value = 0;
  bool first = false;
  if ((flags & kAllowed) != 0) {
    if ((flags & (kNode | kAddr)) != 0) return abi::Errno::kEINVAL;
    first = true;
  } else {
    // Policies of ranges make no difference and are not kept: those of the task are told.
    int32_t mode = task.mempolicy & ~kModeFlags;
    if ((flags & kAddr) != 0) {
      if (!AllMapped(task, addr.value, addr.value + 1)) return abi::Errno::kEFAULT;
    } else if (!addr.null()) {
      return abi::Errno::kEINVAL;
    }
    if ((flags & kNode) != 0) {
      if ((flags & kAddr) == 0 && mode != abi::kMPOL_INTERLEAVE) return abi::Errno::kEINVAL;
      value = 0;
    } else {
      value = task.mempolicy;
    }
    first = mode != abi::kMPOL_DEFAULT && mode != abi::kMPOL_LOCAL;
  }
  if (!policy.null()) TRY(task.mm().CopyOut(policy, &value, sizeof value));
  if (!nmask.null()) TRY(StoreNodes(task, nmask, maxnode, first));
  return 0;
}

SyscallResult sys_mbind(Task& task, UserAddr addr, uint64_t len, uint64_t mode, UserAddr nmask,
                        uint64_t maxnode, uint32_t flags) {
  Policy p = TRY(Split(static_cast<int32_t>(mode)));
  Nodes n = TRY(GetNodes(task, nmask, maxnode));
  constexpr uint32_t kValid = abi::kMPOL_MF_STRICT | abi::kMPOL_MF_MOVE | abi::kMPOL_MF_MOVE_ALL;
  if ((flags & ~kValid) != 0) return abi::Errno::kEINVAL;
  if ((flags & abi::kMPOL_MF_MOVE_ALL) != 0 && !task.creds().Has(abi::kCAP_SYS_NICE)) {
    return abi::Errno::kEPERM;
  }
  if ((addr.value & (kPage - 1)) != 0) return abi::Errno::kEINVAL;
  len = sentry::PageUp(len);
  uint64_t end = addr.value + len;
  if (end < addr.value) return abi::Errno::kEINVAL;
  if (end == addr.value) return 0;
  TRY(Make(p, n));
  if (!AllMapped(task, addr.value, end)) return abi::Errno::kEFAULT;
  return 0;
}

}  // namespace syscalls
