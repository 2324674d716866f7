#include "sentry/loader/loader.h"

namespace sentry {

base::Result<ScriptLine> ParseScript(std::string_view head) {
  constexpr size_t kBuffer = 256;  // BINPRM_BUF_SIZE
  if (head.size() < 2 || head.substr(0, 2) != "#!") return abi::Errno::kENOEXEC;
  // The kernel looks at a buffer of 256 bytes, padded with NULs.
  std::string buf(head.substr(0, kBuffer));
  buf.resize(kBuffer, '\0');
  auto space = [](char c) { return c == ' ' || c == '\t'; };
  size_t end = buf.find('\n', 2);
  if (end == std::string::npos) {
    end = kBuffer - 1;
    size_t name = 2;
    while (name < end && space(buf[name])) name++;
    if (name == end) return abi::Errno::kENOEXEC;
    // A name that the buffer cut off is no name.
    bool ended = false;
    for (size_t i = name; i <= end; i++) ended |= space(buf[i]) || buf[i] == '\0';
    if (!ended) return abi::Errno::kENOEXEC;
  }
  while (end > 2 && space(buf[end - 1])) end--;
  size_t name = 2;
  while (name < end && space(buf[name])) name++;
  if (name == end || buf[name] == '\0') return abi::Errno::kENOEXEC;
  size_t stop = name;
  while (stop < end && !space(buf[stop]) && buf[stop] != '\0') stop++;
  ScriptLine line;
  line.interpreter = buf.substr(name, stop - name);
  if (stop < end && buf[stop] != '\0') {
    size_t arg = stop;
    while (arg < end && space(buf[arg])) arg++;
    if (arg < end) {
      line.argument = buf.substr(arg, end - arg).c_str();
      line.has_argument = !line.argument.empty();
    }
  }
  return line;
}

}  // namespace sentry
