#include "runsc-cli/oci/report.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "platform/base/fd.h"

namespace runsc {
namespace {

base::UniqueFd log_file;
bool log_json = false;

void Log(const char* level, const std::string& text) {
  if (!log_file) return;
  std::string line;
  if (log_json) {
    // A dump never fails on what a guest's files are called.
    line = nlohmann::json{{"level", level}, {"msg", text}, {"time", TimeText()}}.dump(
        -1, ' ', false, nlohmann::json::error_handler_t::replace);
  } else {
    line = "time=\"" + TimeText() + "\" level=" + level + " msg=" +
           nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  line += '\n';
  if (write(log_file.get(), line.data(), line.size()) < 0) return;
}

}  // namespace

std::string TimeText() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts;
  gmtime_r(&now.tv_sec, &parts);
  char date[32], text[64];
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text, sizeof text, "%s.%09ldZ", date, now.tv_nsec);
  return text;
}

base::Status OpenLog(const std::string& path, const std::string& format) {
  if (format != "text" && format != "json")
    return base::Status::Error("--log-format is text or json, not \"" + format + "\"");
  log_json = format == "json";
  if (path.empty()) return {};
  log_file.reset(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!log_file) return base::Status::Errno("--log " + path, errno);
  return {};
}

int Fail(const std::string& text, int status) {
  Log("error", text);
  fprintf(stderr, "moat: %s\n", text.c_str());
  return status;
}

void Warn(const std::string& text) {
  Log("warning", text);
  if (!log_file) fprintf(stderr, "moat: warning: %s\n", text.c_str());
}

}  // namespace runsc
