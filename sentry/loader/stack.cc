#include <cstring>

#include "sentry/loader/loader.h"
#include "syscalls/abi/elf.h"

namespace sentry {

// create_elf_tables() and copy_strings(), from the top down: a zero word, the file name, the
// environment, the arguments, the platform's name, random bytes, auxv, pointers, argc.
StackImage BuildStack(uint64_t top, const StackArgs& a) {
  StackImage image;
  size_t strings = 8 + a.filename.size() + 1;
  for (const std::string& s : a.argv) strings += s.size() + 1;
  for (const std::string& s : a.envp) strings += s.size() + 1;
  static constexpr char kPlatform[] = "x86_64";
  size_t words = 1 + a.argv.size() + 1 + a.envp.size() + 1 + a.auxv.size();
  size_t below = sizeof kPlatform + sizeof a.random;
  uint64_t strings_at = top - strings;
  uint64_t below_at = (strings_at - below) & ~uint64_t{15};
  image.sp = (below_at - words * 8) & ~uint64_t{15};
  image.bytes.assign(top - image.sp, '\0');
  char* base = image.bytes.data();
  auto put = [&](uint64_t at, const void* p, size_t n) { memcpy(base + (at - image.sp), p, n); };

  uint64_t random_at = below_at, platform_at = below_at + sizeof a.random;
  put(random_at, a.random, sizeof a.random);
  put(platform_at, kPlatform, sizeof kPlatform);
  std::vector<uint64_t> table;
  table.reserve(words);
  table.push_back(a.argv.size());
  uint64_t at = strings_at;
  auto put_strings = [&](const std::vector<std::string>& list) {
    for (const std::string& s : list) {
      put(at, s.c_str(), s.size() + 1);
      table.push_back(at);
      at += s.size() + 1;
    }
    table.push_back(0);
  };
  image.arg_start = at;
  put_strings(a.argv);
  image.arg_end = image.env_start = at;
  put_strings(a.envp);
  image.env_end = at;
  uint64_t name_at = at;
  put(name_at, a.filename.c_str(), a.filename.size() + 1);
  image.auxv = a.auxv;
  for (size_t i = 0; i + 1 < image.auxv.size(); i += 2) {
    switch (image.auxv[i]) {
      case abi::kAT_RANDOM:
        image.auxv[i + 1] = random_at;
        break;
      case abi::kAT_EXECFN:
        image.auxv[i + 1] = name_at;
        break;
      case abi::kAT_PLATFORM:
        image.auxv[i + 1] = platform_at;
        break;
      default:
        break;
    }
  }
  table.insert(table.end(), image.auxv.begin(), image.auxv.end());
  put(image.sp, table.data(), table.size() * 8);
  return image;
}

}  // namespace sentry
