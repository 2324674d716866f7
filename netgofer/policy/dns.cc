#include "netgofer/policy/dns.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace netgofer::dns {
namespace {

constexpr uint16_t kResponse = 0x8000, kOpcode = 0x7800, kTruncated = 0x0200, kRecursion = 0x0100,
                   kRecursionAvailable = 0x0080, kAuthentic = 0x0020, kNoChecking = 0x0010,
                   kZero = 0x0040, kRcodeMask = 0x000f;
constexpr uint16_t kTypeA = 1, kTypeCname = 5, kTypeAaaa = 28, kTypeOpt = 41, kTypeIxfr = 251,
                   kTypeAny = 255;
constexpr uint16_t kClassIn = 1;
constexpr size_t kHeader = 12, kMaxWireName = 255, kMaxLabel = 63;
constexpr size_t kMaxAliases = 16;
constexpr size_t kMaxPointers = 64;

char Lower(uint8_t c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); }

class Cursor {
 public:
  explicit Cursor(std::span<const uint8_t> m) : m_(m) {}
  uint8_t U8() { return Has(1) ? m_[at_++] : uint8_t{0}; }
  uint16_t U16() {
    const uint16_t high = U8();
    return static_cast<uint16_t>(high << 8 | U8());
  }
  uint32_t U32() {
    const uint32_t high = U16();
    return high << 16 | U16();
  }
  std::span<const uint8_t> Bytes(size_t n) {
    if (!Has(n)) return {};
    at_ += n;
    return m_.subspan(at_ - n, n);
  }
  // A name in wire form, lower case, without compression; *raw as it stands.
  std::string Name(bool may_be_compressed, std::string* raw = nullptr);
  bool ok() const { return ok_; }
  void Fail() { ok_ = false; }
  size_t at() const { return at_; }
  bool AtEnd() const { return ok_ && at_ == m_.size(); }

 private:
  bool Has(size_t n) {
    if (!ok_ || n > m_.size() - at_) ok_ = false;
    return ok_;
  }
  std::span<const uint8_t> m_;
  size_t at_ = 0;
  bool ok_ = true;
};

std::string Cursor::Name(bool may_be_compressed, std::string* raw) {
  std::string name;
  // Each pointer leads to before where it was found, so that there are no circles.
  size_t p = at_, lowest = at_, pointers = 0;
  bool jumped = false;
  for (;;) {
    if (!ok_ || p >= m_.size()) return Fail(), "";
    const uint8_t n = m_[p];
    if ((n & 0xc0) == 0xc0) {
      if (!may_be_compressed || p + 1 >= m_.size() || ++pointers > kMaxPointers) return Fail(), "";
      const size_t target = static_cast<size_t>(n & 0x3f) << 8 | m_[p + 1];
      if (target >= lowest || target < kHeader) return Fail(), "";
      if (!jumped) at_ = p + 2;
      jumped = true;
      lowest = p = target;
      continue;
    }
    if (n > kMaxLabel || p + 1 + n > m_.size() || name.size() + 1 + n > kMaxWireName) {
      return Fail(), "";
    }
    name.push_back(static_cast<char>(n));
    for (size_t i = 1; i <= n; i++) name.push_back(Lower(m_[p + i]));
    if (raw != nullptr) raw->append(reinterpret_cast<const char*>(&m_[p]), size_t{n} + 1);
    p += size_t{n} + 1;
    if (n == 0) break;
  }
  if (!jumped) at_ = p;
  return name;
}

// With dots; none for names that hold anything but letters, digits, - and _.
std::optional<std::string> ToText(const std::string& wire) {
  std::string text;
  for (size_t i = 0; i < wire.size() && wire[i] != 0;) {
    const auto n = static_cast<size_t>(wire[i++]);
    if (!text.empty()) text.push_back('.');
    for (size_t k = 0; k < n; k++) {
      const char c = wire[i++];
      if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_') return {};
      text.push_back(c);
    }
  }
  return text;
}

void Put16(std::vector<uint8_t>* out, unsigned v) {
  out->push_back(static_cast<uint8_t>(v >> 8));
  out->push_back(static_cast<uint8_t>(v));
}

std::vector<uint8_t> MakeHeader(uint16_t id, unsigned flags, bool question, bool additional) {
  std::vector<uint8_t> out;
  for (unsigned v : {unsigned{id}, flags, unsigned{question}, 0u, 0u, unsigned{additional}}) {
    Put16(&out, v);
  }
  return out;
}

void PutQuestion(const Query& q, std::vector<uint8_t>* out) {
  out->insert(out->end(), q.wire_name.begin(), q.wire_name.end());
  Put16(out, q.type);
  Put16(out, kClassIn);
}

struct Record {
  std::string owner;
  uint16_t type = 0, cls = 0;
  uint32_t ttl = 0;
  std::span<const uint8_t> data;
  std::string target;  // of an alias
};

Record ReadRecord(Cursor& in, std::span<const uint8_t> message) {
  Record r;
  r.owner = in.Name(true);
  r.type = in.U16();
  r.cls = in.U16();
  r.ttl = in.U32();
  const uint16_t size = in.U16();
  const size_t begin = in.at();
  r.data = in.Bytes(size);
  if (in.ok() && r.type == kTypeCname && r.cls == kClassIn) {
    // A name in it may point anywhere before itself, but must end where the record does.
    Cursor name(message.first(begin + size));
    name.Bytes(begin);
    r.target = name.Name(true);
    if (!name.AtEnd()) in.Fail();
  }
  return r;
}

bool SizeIs(const Record& r, size_t n) { return r.cls == kClassIn && r.data.size() == n; }

}  // namespace

Rcode ParseQuery(std::span<const uint8_t> message, Query* query, bool* ignore) {
  *query = Query{};
  *ignore = true;
  if (message.size() < kHeader) return Rcode::kFormatError;
  Cursor in(message);
  query->id = in.U16();
  const uint16_t flags = in.U16();
  if ((flags & kResponse) != 0) return Rcode::kFormatError;
  *ignore = false;
  query->flags = flags & (kRecursion | kAuthentic | kNoChecking);
  if (message.size() > kMaxQuery) return Rcode::kFormatError;
  if ((flags & kOpcode) != 0) return Rcode::kNotImplemented;
  if ((flags & (kTruncated | kRecursionAvailable | kZero | kRcodeMask)) != 0) {
    return Rcode::kFormatError;
  }
  const uint16_t questions = in.U16(), answers = in.U16(), authorities = in.U16(),
                 additional = in.U16();
  if (questions != 1 || answers != 0 || authorities != 0 || additional > 1) {
    return Rcode::kFormatError;
  }
  std::string raw;
  const std::string wire = in.Name(false, &raw);
  const uint16_t type = in.U16(), cls = in.U16();
  if (!in.ok()) return Rcode::kFormatError;
  query->wire_name = raw;
  query->type = type;
  const std::optional<std::string> text = ToText(wire);
  if (text) query->name = *text;
  if (additional == 1) {
    const Record opt = ReadRecord(in, message);
    if (!in.ok() || opt.owner.size() != 1 || opt.type != kTypeOpt) return Rcode::kFormatError;
    query->edns = true;
    query->udp_size = static_cast<uint16_t>(std::clamp<size_t>(opt.cls, kMaxQuery, kMaxDatagram));
    query->dnssec_ok = (opt.ttl & 0x8000) != 0;
  }
  if (!in.AtEnd() || !text) return Rcode::kFormatError;
  // Whole zones and everything at once: nothing that a program needs.
  if (cls != kClassIn || (type >= kTypeIxfr && type <= kTypeAny) || type == kTypeOpt || type == 0) {
    return Rcode::kNotImplemented;
  }
  return Rcode::kNoError;
}

std::vector<uint8_t> MakeQuery(const Query& q, uint16_t id) {
  std::vector<uint8_t> out = MakeHeader(id, q.flags, true, q.edns);
  PutQuestion(q, &out);
  if (q.edns) {
    out.push_back(0);
    for (unsigned v :
         {unsigned{kTypeOpt}, unsigned{q.udp_size}, 0u, q.dnssec_ok ? 0x8000u : 0u, 0u}) {
      Put16(&out, v);
    }
  }
  return out;
}

std::vector<uint8_t> MakeError(const Query& q, Rcode rcode) {
  const unsigned flags = kResponse | (q.flags & (kRecursion | kNoChecking)) | kRecursionAvailable |
                         static_cast<unsigned>(rcode);
  const bool question = !q.wire_name.empty();
  std::vector<uint8_t> out = MakeHeader(q.id, flags, question, false);
  if (question) PutQuestion(q, &out);
  return out;
}

bool ParseAnswer(std::span<const uint8_t> message, const Query& q, uint16_t id, Answer* answer) {
  *answer = Answer{};
  Cursor in(message);
  if (in.U16() != id) return false;
  const uint16_t flags = in.U16();
  const uint16_t questions = in.U16();
  const size_t answers = in.U16(), others = size_t{in.U16()} + in.U16();
  if (!in.ok() || (flags & kResponse) == 0 || (flags & kOpcode) != 0 || questions != 1) {
    return false;
  }
  answer->truncated = (flags & kTruncated) != 0;
  std::string wanted(q.wire_name.size(), 0);
  std::transform(q.wire_name.begin(), q.wire_name.end(), wanted.begin(),
                 [](char c) { return Lower(static_cast<uint8_t>(c)); });
  if (in.Name(false) != wanted || in.U16() != q.type || in.U16() != kClassIn) return false;

  // A record takes 11 bytes at least, so a false count ends at the end of the message.
  std::vector<Record> records;
  for (size_t i = 0; i < answers + others && in.ok(); i++) {
    Record r = ReadRecord(in, message);
    if (!in.ok()) break;
    if (i < answers) records.push_back(std::move(r));
  }
  // A truncated message may end anywhere: the asker comes again over TCP.
  if (answer->truncated) return true;
  if (!in.AtEnd()) return false;

  std::vector<std::string> names = {wanted};
  for (size_t before = 0; before != names.size();) {
    before = names.size();
    for (const Record& r : records) {
      if (r.type != kTypeCname || r.cls != kClassIn) continue;
      if (std::find(names.begin(), names.end(), r.owner) == names.end()) continue;
      if (std::find(names.begin(), names.end(), r.target) != names.end()) continue;
      if (names.size() == kMaxAliases) return false;
      names.push_back(r.target);
    }
  }
  for (const Record& r : records) {
    if (r.type != kTypeA && r.type != kTypeAaaa) continue;
    // What wasn't asked for would be a way to have addresses believed.
    if (std::find(names.begin(), names.end(), r.owner) == names.end()) return false;
    if (!SizeIs(r, r.type == kTypeA ? 4 : 16)) return false;
    AddressRecord& a = answer->addresses.emplace_back();
    a.ttl = r.ttl;
    if (r.type == kTypeA) {
      a.address = Address::V4(uint32_t{r.data[0]} << 24 | uint32_t{r.data[1]} << 16 |
                              uint32_t{r.data[2]} << 8 | r.data[3]);
    } else {
      std::copy(r.data.begin(), r.data.end(), a.address.b.begin());
    }
  }
  return true;
}

}  // namespace netgofer::dns
