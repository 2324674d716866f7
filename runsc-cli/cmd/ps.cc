// moat ps and moat list: what runs.
#include <sys/stat.h>

#include <cstdio>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runsc-cli/boot/lifecycle.h"
#include "runsc-cli/cmd/commands.h"
#include "runsc-cli/oci/files.h"
#include "runsc-cli/oci/report.h"

namespace runsc {
namespace {

using base::Status;
using nlohmann::json;

// ps -ef of the guest, as the guest numbers its processes.
Status PrintTable(const Record& record) {
  base::UniqueFd connection;
  ControlMessage reply;
  RETURN_IF_ERROR(Connect(record, &connection));
  RETURN_IF_ERROR(Request(connection.get(), Control::kProcesses, 0, &reply));
  printf("%-8s %7s %7s %8s %8s CMD\n", "UID", "PID", "PPID", "STIME", "TIME");
  std::stringstream lines(Printable(reply.body));
  for (std::string line; std::getline(lines, line);) {
    std::stringstream row(line);
    long host_pid, pid, parent, start, seconds;
    unsigned uid;
    std::string command;
    if (!(row >> host_pid >> pid >> parent >> uid >> start >> seconds)) continue;
    std::getline(row >> std::ws, command);
    const time_t at = start;
    char when[16] = "";
    tm parts;
    if (localtime_r(&at, &parts) != nullptr) strftime(when, sizeof when, "%H:%M", &parts);
    printf("%-8u %7ld %7ld %8s %02ld:%02ld:%02ld %s\n", uid, pid, parent, when, seconds / 3600,
           seconds / 60 % 60, seconds % 60, command.c_str());
  }
  return {};
}

// Without the C library's name service, which a static program can't load.
std::string OwnerOf(const std::string& directory) {
  struct stat st;
  if (stat(directory.c_str(), &st) != 0) return "";
  const std::string id = std::to_string(st.st_uid);
  std::string text;
  (void)ReadText("/etc/passwd", &text);
  std::stringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t name = line.find(':'), password = line.find(':', name + 1);
    if (password != std::string::npos && line.compare(password + 1, id.size() + 1, id + ":") == 0)
      return line.substr(0, name);
  }
  return "#" + id;
}

}  // namespace

int CmdPs(const Settings& settings, const Words& words) {
  std::string format = "table", id;
  FlagSet flags;
  flags.String("format", &format, "table|json", "table (default), or the host's process ids");
  flags.Alias("f", "format");
  Words more;
  int status = 0;
  // runc passes further words on to ps(1).
  if (!ParseContainerCommand(flags, "ps [--format json] ID", words, &id, &more, &status))
    return status;
  Record record;
  Status st = Record::Load(settings, id, false, &record);
  if (st.ok() && format == "json") {
    std::vector<pid_t> pids;
    st = ContainerPids(record, &pids);
    if (st.ok()) printf("%s\n", json(pids).dump().c_str());
  } else if (st.ok() && format == "table") {
    st = PrintTable(record);
  } else if (st.ok()) {
    st = Status::Error("invalid format option");
  }
  return st.ok() ? 0 : Fail(st.text(), kExitOciFailure);
}

int CmdList(const Settings& settings, const Words& words) {
  std::string format = "table";
  bool quiet = false;
  FlagSet flags;
  flags.String("format", &format, "table|json", "table (default) or an array of states");
  flags.Alias("f", "format");
  flags.Bool("quiet", &quiet, "ids only");
  flags.Alias("q", "quiet");
  size_t i = 0;
  if (Status st = flags.Parse(words, &i); !st.ok()) return Fail(st.text(), kExitOciFailure);
  if (flags.help_wanted()) {
    printf("usage: moat list [FLAGS]\n\n%s", flags.Help().c_str());
    return 0;
  }
  json all = json::array();
  for (const std::string& id : Record::List(settings)) {
    Record record;
    if (!Record::Load(settings, id, false, &record).ok()) continue;
    json state = json::parse(record.StateJson(StatusOf(record)));
    state["owner"] = OwnerOf(record.directory);
    all.push_back(std::move(state));
  }
  if (quiet) {
    for (const json& s : all) printf("%s\n", s["id"].get<std::string>().c_str());
  } else if (format == "json") {
    printf("%s\n", all.dump().c_str());
  } else if (format == "table") {
    printf("%-20s %-8s %-8s %-30s %-30s %s\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER");
    for (const json& s : all) {
      printf("%-20s %-8d %-8s %-30s %-30s %s\n", s["id"].get<std::string>().c_str(),
             s["pid"].get<int>(), s["status"].get<std::string>().c_str(),
             s["bundle"].get<std::string>().c_str(), s["created"].get<std::string>().c_str(),
             s["owner"].get<std::string>().c_str());
    }
  } else {
    return Fail("invalid format option", kExitOciFailure);
  }
  return 0;
}

}  // namespace runsc
