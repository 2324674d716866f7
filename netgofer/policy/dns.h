// DNS messages (RFC 1035), read strictly: queries are taken apart and made anew, so that nothing
// but a question of the plain kind leaves a sandbox; answers are believed only as far as they
// answer that question.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "netgofer/wire/endpoint.h"

namespace netgofer::dns {

inline constexpr size_t kMaxQuery = 512;
inline constexpr size_t kMaxDatagram = 4096;  // of an answer over UDP
inline constexpr size_t kMaxMessage = 65535;
inline constexpr uint16_t kPort = 53;

enum class Rcode : uint8_t {
  kNoError = 0,
  kFormatError = 1,
  kServerFailure = 2,
  kNotImplemented = 4,
  kRefused = 5,
};

struct Query {
  uint16_t id = 0;
  uint16_t flags = 0;  // RD, AD and CD as they were
  uint16_t type = 0;
  std::string wire_name;  // as it was asked: servers may play with letters' case
  std::string name;       // lower case, with dots, without the last one
  bool edns = false;
  uint16_t udp_size = kMaxQuery;  // the largest answer that the asker takes over UDP
  bool dnssec_ok = false;
};

// kNoError: a plain question, in *query. Else how to answer it; *query has what could be read.
// ignore: it is not even a question, or has no id: no answer.
Rcode ParseQuery(std::span<const uint8_t> message, Query* query, bool* ignore);
// The question again, under another id; of EDNS only the size of the answer and the DO bit.
std::vector<uint8_t> MakeQuery(const Query& query, uint16_t id);
// An answer without records.
std::vector<uint8_t> MakeError(const Query& query, Rcode rcode);

struct AddressRecord {
  Address address;
  uint32_t ttl = 0;
};

struct Answer {
  bool truncated = false;
  // Of the name that was asked for, also by way of its aliases.
  std::vector<AddressRecord> addresses;
};

// False: not a sound answer to this query under this id.
bool ParseAnswer(std::span<const uint8_t> message, const Query& query, uint16_t id, Answer* answer);

}  // namespace netgofer::dns
