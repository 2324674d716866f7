// For tests: DNS messages, good and bad.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace netgofer::dns::testing {

class Message {
 public:
  Message(uint16_t id, uint16_t flags) : m_(12) {
    Set(0, id);
    Set(2, flags);
  }
  Message& Question(const char* name, uint16_t type) {
    Name(name);
    U16(type);
    U16(1);
    return Count(4);
  }
  Message& A(const char* owner, uint32_t address, uint32_t ttl) {
    Name(owner);
    Record(
        1, ttl,
        {uint8_t(address >> 24), uint8_t(address >> 16), uint8_t(address >> 8), uint8_t(address)});
    return Count(6);
  }
  Message& Cname(const char* owner, const char* target) {
    Name(owner);
    const std::string n = Wire(target);
    Record(5, 60, std::vector<uint8_t>(n.begin(), n.end()));
    return Count(6);
  }
  // A record whose owner is a pointer.
  Message& Pointer(uint16_t to, uint16_t type, const std::vector<uint8_t>& data) {
    U16(0xc000 | to);
    Record(type, 60, data);
    return Count(6);
  }
  Message& Edns(uint16_t size, uint16_t flags, const std::vector<uint8_t>& options) {
    m_.push_back(0);
    U16(41);
    U16(size);
    U16(0);
    U16(flags);
    U16(static_cast<uint16_t>(options.size()));
    m_.insert(m_.end(), options.begin(), options.end());
    return Count(10);
  }
  const std::vector<uint8_t>& bytes() const { return m_; }

 private:
  static std::string Wire(const char* name) {
    std::string out;
    while (*name != 0) {
      const char* dot = strchr(name, '.');
      const size_t n = dot ? static_cast<size_t>(dot - name) : strlen(name);
      out.push_back(static_cast<char>(n));
      out.append(name, n);
      name += n + (dot ? 1 : 0);
    }
    out.push_back(0);
    return out;
  }
  void Name(const char* name) {
    const std::string n = Wire(name);
    m_.insert(m_.end(), n.begin(), n.end());
  }
  void Record(uint16_t type, uint32_t ttl, const std::vector<uint8_t>& data) {
    U16(type);
    U16(1);
    U16(static_cast<uint16_t>(ttl >> 16));
    U16(static_cast<uint16_t>(ttl));
    U16(static_cast<uint16_t>(data.size()));
    m_.insert(m_.end(), data.begin(), data.end());
  }
  void U16(unsigned v) {
    m_.push_back(static_cast<uint8_t>(v >> 8));
    m_.push_back(static_cast<uint8_t>(v));
  }
  void Set(size_t at, uint16_t v) {
    m_[at] = static_cast<uint8_t>(v >> 8);
    m_[at + 1] = static_cast<uint8_t>(v);
  }
  Message& Count(size_t at) {
    m_[at + 1]++;
    return *this;
  }
  std::vector<uint8_t> m_;
};

}  // namespace netgofer::dns::testing
