// keyctl(2).
#pragma once

#include <cstdint>

#include "syscalls/abi/namespace.h"

namespace uapi {

inline constexpr int32_t kKEY_SPEC_THREAD_KEYRING = -1;
inline constexpr int32_t kKEY_SPEC_PROCESS_KEYRING = -2;
inline constexpr int32_t kKEY_SPEC_SESSION_KEYRING = -3;
inline constexpr int32_t kKEY_SPEC_USER_KEYRING = -4;
inline constexpr int32_t kKEY_SPEC_USER_SESSION_KEYRING = -5;
inline constexpr int32_t kKEY_SPEC_GROUP_KEYRING = -6;
inline constexpr int32_t kKEYCTL_GET_KEYRING_ID = 0;
inline constexpr int32_t kKEYCTL_JOIN_SESSION_KEYRING = 1;
inline constexpr int32_t kKEYCTL_UPDATE = 2;
inline constexpr int32_t kKEYCTL_REVOKE = 3;
inline constexpr int32_t kKEYCTL_CHOWN = 4;
inline constexpr int32_t kKEYCTL_SETPERM = 5;
inline constexpr int32_t kKEYCTL_DESCRIBE = 6;
inline constexpr int32_t kKEYCTL_CLEAR = 7;
inline constexpr int32_t kKEYCTL_LINK = 8;
inline constexpr int32_t kKEYCTL_UNLINK = 9;
inline constexpr int32_t kKEYCTL_SEARCH = 10;
inline constexpr int32_t kKEYCTL_READ = 11;

}  // namespace uapi
