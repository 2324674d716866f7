// The files of /proc that are about the whole machine, as the sandbox sees it.
#include <cpuid.h>

#include <cstdio>
#include <cstring>

#include "platform/host/host.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/synth/sysctl.h"

namespace sentry {
namespace proc {
namespace {

constexpr int64_t kNsPerSec = 1000000000;

struct Cpuid {
  uint32_t a, b, c, d;
};
Cpuid CpuidOf(uint32_t leaf, uint32_t sub = 0) {
  Cpuid r{};
  __get_cpuid_count(leaf, sub, &r.a, &r.b, &r.c, &r.d);
  return r;
}

// Flag names by CPUID bit, as arch/x86/include/asm/cpufeatures.h names them; what programs look
// for.
struct CpuFlag {
  uint32_t leaf, sub;
  uint8_t reg, bit;  // reg: 0 a, 1 b, 2 c, 3 d
  const char* name;
};
constexpr CpuFlag kFlags[] = {
    {1, 0, 3, 0, "fpu"},
    {1, 0, 3, 1, "vme"},
    {1, 0, 3, 2, "de"},
    {1, 0, 3, 3, "pse"},
    {1, 0, 3, 4, "tsc"},
    {1, 0, 3, 5, "msr"},
    {1, 0, 3, 6, "pae"},
    {1, 0, 3, 7, "mce"},
    {1, 0, 3, 8, "cx8"},
    {1, 0, 3, 9, "apic"},
    {1, 0, 3, 11, "sep"},
    {1, 0, 3, 12, "mtrr"},
    {1, 0, 3, 13, "pge"},
    {1, 0, 3, 14, "mca"},
    {1, 0, 3, 15, "cmov"},
    {1, 0, 3, 16, "pat"},
    {1, 0, 3, 17, "pse36"},
    {1, 0, 3, 19, "clflush"},
    {1, 0, 3, 23, "mmx"},
    {1, 0, 3, 24, "fxsr"},
    {1, 0, 3, 25, "sse"},
    {1, 0, 3, 26, "sse2"},
    {1, 0, 3, 28, "ht"},
    {0x80000001, 0, 3, 11, "syscall"},
    {0x80000001, 0, 3, 20, "nx"},
    {0x80000001, 0, 3, 26, "pdpe1gb"},
    {0x80000001, 0, 3, 27, "rdtscp"},
    {0x80000001, 0, 3, 29, "lm"},
    {1, 0, 2, 0, "pni"},
    {1, 0, 2, 1, "pclmulqdq"},
    {1, 0, 2, 9, "ssse3"},
    {1, 0, 2, 12, "fma"},
    {1, 0, 2, 13, "cx16"},
    {1, 0, 2, 19, "sse4_1"},
    {1, 0, 2, 20, "sse4_2"},
    {1, 0, 2, 22, "movbe"},
    {1, 0, 2, 23, "popcnt"},
    {1, 0, 2, 25, "aes"},
    {1, 0, 2, 26, "xsave"},
    {1, 0, 2, 28, "avx"},
    {1, 0, 2, 29, "f16c"},
    {1, 0, 2, 30, "rdrand"},
    {1, 0, 2, 31, "hypervisor"},
    {0x80000001, 0, 2, 0, "lahf_lm"},
    {0x80000001, 0, 2, 5, "abm"},
    {0x80000001, 0, 2, 6, "sse4a"},
    {0x80000001, 0, 2, 8, "3dnowprefetch"},
    {7, 0, 1, 0, "fsgsbase"},
    {7, 0, 1, 3, "bmi1"},
    {7, 0, 1, 5, "avx2"},
    {7, 0, 1, 7, "smep"},
    {7, 0, 1, 8, "bmi2"},
    {7, 0, 1, 9, "erms"},
    {7, 0, 1, 16, "avx512f"},
    {7, 0, 1, 17, "avx512dq"},
    {7, 0, 1, 18, "rdseed"},
    {7, 0, 1, 19, "adx"},
    {7, 0, 1, 20, "smap"},
    {7, 0, 1, 23, "clflushopt"},
    {7, 0, 1, 24, "clwb"},
    {7, 0, 1, 28, "avx512cd"},
    {7, 0, 1, 29, "sha_ni"},
    {7, 0, 1, 30, "avx512bw"},
    {7, 0, 1, 31, "avx512vl"},
    {7, 0, 2, 3, "pku"},
    {7, 0, 2, 4, "ospke"},
    {7, 0, 2, 8, "gfni"},
    {7, 0, 2, 9, "vaes"},
    {7, 0, 2, 10, "vpclmulqdq"},
    {7, 0, 2, 22, "rdpid"},
    {0xd, 1, 0, 0, "xsaveopt"},
    {0xd, 1, 0, 1, "xsavec"},
    {0xd, 1, 0, 2, "xgetbv1"},
};

std::string CpuInfo(int cpus) {
  Cpuid zero = CpuidOf(0), one = CpuidOf(1);
  char vendor[13] = {};
  memcpy(vendor, &zero.b, 4);
  memcpy(vendor + 4, &zero.d, 4);
  memcpy(vendor + 8, &zero.c, 4);
  char brand[49] = {};
  for (uint32_t i = 0; i < 3; i++) {
    Cpuid b = CpuidOf(0x80000002 + i);
    memcpy(brand + 16 * i, &b, 16);
  }
  const char* name = brand;
  while (*name == ' ') name++;
  uint32_t family = (one.a >> 8) & 0xf, model = (one.a >> 4) & 0xf;
  if (family == 0xf || family == 6) model |= ((one.a >> 16) & 0xf) << 4;
  if (family == 0xf) family += (one.a >> 20) & 0xff;
  std::string flags;
  for (const CpuFlag& f : kFlags) {
    Cpuid r = CpuidOf(f.leaf, f.sub);
    uint32_t v = f.reg == 0 ? r.a : f.reg == 1 ? r.b : f.reg == 2 ? r.c : r.d;
    if ((v >> f.bit & 1) != 0) flags += std::string(flags.empty() ? "" : " ") + f.name;
  }
  Cpuid sizes = CpuidOf(0x80000008);
  std::string out;
  for (int i = 0; i < cpus; i++) {
    out += Format(
        "processor\t: %d\nvendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: "
        "%s\nstepping\t: %u\n",
        i, vendor, family, model, name, one.a & 0xf);
    out += Format(
        "cpu MHz\t\t: 2000.000\ncache size\t: 512 KB\nphysical id\t: 0\nsiblings\t: %d\ncore "
        "id\t\t: %d\n"
        "cpu cores\t: %d\napicid\t\t: %d\ninitial apicid\t: %d\nfpu\t\t: yes\nfpu_exception\t: "
        "yes\n"
        "cpuid level\t: %u\nwp\t\t: yes\n",
        cpus, i, cpus, i, i, zero.a);
    out += "flags\t\t: " + flags + "\nbugs\t\t:\n";
    out += Format(
        "bogomips\t: 4000.00\nclflush size\t: %u\ncache_alignment\t: 64\naddress sizes\t: %u bits "
        "physical, %u bits "
        "virtual\npower management:\n\n",
        ((one.b >> 8) & 0xff) * 8, sizes.a & 0xff, (sizes.a >> 8) & 0xff);
  }
  return out;
}

// Whose share of the machine the reader sees.
const Container& ReaderContainer(Kernel& k) {
  const Task* t = Task::Current();
  return t != nullptr ? t->group().container() : *k.root_container();
}

std::string MemInfo(Kernel& k) {
  const Container& container = ReaderContainer(k);
  const uint64_t total = container.memory_bytes.load() / 1024;
  const uint64_t used = std::min(k.MemoryInUse(container) / 1024, total);
  const uint64_t free = total - used;
  std::string out;
  auto row = [&](const char* name, uint64_t kb) { out += Format("%-15s %8lu kB\n", name, kb); };
  row("MemTotal:", total);
  row("MemFree:", free);
  row("MemAvailable:", free);
  row("Buffers:", 0);
  row("Cached:", 0);
  row("SwapCached:", 0);
  row("Active:", used);
  row("Inactive:", 0);
  row("SwapTotal:", 0);
  row("SwapFree:", 0);
  row("Dirty:", 0);
  row("Writeback:", 0);
  row("AnonPages:", used);
  row("Mapped:", 0);
  row("Shmem:", 0);
  row("Slab:", 0);
  row("PageTables:", 0);
  row("CommitLimit:", total / 2);
  row("Committed_AS:", used);
  row("VmallocTotal:", 34359738367);
  row("VmallocUsed:", 0);
  out += "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n";
  return out;
}

std::string Stat(Kernel& k) {
  // The sandbox's processors are busy for as long as its tasks ran.
  int64_t user = 0, system = 0;
  int running = 0, total = 0;
  {
    base::MutexLock lock(k.tree_mu);
    for (Task* t : k.root_pid_ns()->Tasks()) {
      Task::CpuTime c = t->cpu_time();
      user += c.user;
      system += c.sys;
      running += t->State() == 'R';
      total++;
    }
  }
  const int cpus = ReaderContainer(k).cpu_count;
  const int64_t up = k.clock().BootTime();
  const int64_t tick = 10000000;
  const int64_t idle = std::max<int64_t>(up * cpus - user - system, 0);
  std::string out =
      Format("cpu  %ld 0 %ld %ld 0 0 0 0 0 0\n", user / tick, system / tick, idle / tick);
  for (int i = 0; i < cpus; i++) {
    out += Format("cpu%d %ld 0 %ld %ld 0 0 0 0 0 0\n", i, user / tick / cpus, system / tick / cpus,
                  idle / tick / cpus);
  }
  out += Format(
      "intr 0\nctxt 0\nbtime %ld\nprocesses %d\nprocs_running %d\nprocs_blocked 0\n"
      "softirq 0 0 0 0 0 0 0 0 0 0 0\n",
      (k.clock().Realtime() - up) / kNsPerSec, k.loadavg().last_pid, std::max(running, 1));
  return out;
}

std::string RandomUuid() {
  uint8_t b[16];
  host::Random(b, sizeof b);
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  return Format("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x\n", b[0],
                b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                b[14], b[15]);
}

std::string Filesystems() {
  std::string out;
  for (const Vfs::FsType& t : Vfs::fs_types())
    out += std::string(t.nodev ? "nodev\t" : "\t") + t.name + "\n";
  return out;
}

// proc_dointvec_minmax() from 0 to max.
void AddNumber(SynthStaticDir& dir, const char* name, std::atomic<int32_t>& value, int32_t max) {
  dir.AddFile(
      name, 0644,
      [&value]() -> base::Result<std::string> { return std::to_string(value.load()) + "\n"; },
      [&value, max](std::string_view text) -> base::Result<void> {
        uint32_t v[1];
        TRY(ReadSysctl(text, static_cast<uint32_t>(max), v));
        value.store(static_cast<int32_t>(v[0]));
        return {};
      });
}

}  // namespace

void AddGlobalFiles(Kernel& kernel, SynthStaticDir& root) {
  Kernel* k = &kernel;
  auto add = [&](const char* name, std::string (*make)(Kernel&)) {
    root.AddFile(name, 0444, [k, make]() -> base::Result<std::string> { return make(*k); });
  };
  add("cpuinfo", [](Kernel& k) { return CpuInfo(ReaderContainer(k).cpu_count); });
  add("meminfo", MemInfo);
  add("stat", Stat);
  add("uptime", [](Kernel& k) {
    int64_t up = k.clock().BootTime();
    return Format("%ld.%02ld %ld.%02ld\n", up / kNsPerSec, up % kNsPerSec / 10000000,
                  up / kNsPerSec * ReaderContainer(k).cpu_count, up % kNsPerSec / 10000000);
  });
  add("loadavg", [](Kernel& k) {
    Kernel::Loadavg l = k.loadavg();
    return Format("%.2f %.2f %.2f %d/%d %d\n", l.avg[0], l.avg[1], l.avg[2], l.running, l.total,
                  l.last_pid);
  });
  add("version", [](Kernel&) {
    return std::string("Linux version ") + kKernelRelease + " (moat@moat) (c++) " + kKernelVersion +
           "\n";
  });
  add("filesystems", [](Kernel&) { return Filesystems(); });
  root.AddText("cmdline", "BOOT_IMAGE=/moat\n");
  root.AddLink("mounts", "self/mounts");
  root.AddLink("net", "self/net");
  root.AddText("devices",
               "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n136 "
               "pts\n\nBlock devices:\n");
  root.AddText("partitions", "major minor  #blocks  name\n\n");
  root.AddText("diskstats", "");
  root.AddText("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
  root.AddText("modules", "");
  root.AddText("interrupts", "            CPU0\n");
  root.AddText("cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\n");
  root.AddText("vmstat", "nr_free_pages 0\npgfault 0\npgmajfault 0\npswpin 0\npswpout 0\n");
  root.AddText("zoneinfo", "");
  root.AddText("buddyinfo", "");
  root.AddText("misc", "");
  root.AddText("key-users", "");
  root.AddText("keys", "");
  root.AddText("consoles", "");
  root.AddText("execdomains", "0-0\tLinux           \t[kernel]\n");
}

void AddSysctls(Kernel& kernel, SynthStaticDir& root) {
  base::Ref<SynthStaticDir> sys = root.AddDir("sys");
  base::Ref<SynthStaticDir> kern = sys->AddDir("kernel"), fs = sys->AddDir("fs"),
                            vm = sys->AddDir("vm"), net = sys->AddDir("net");
  auto uts = [](bool domain) -> base::Result<std::string> {
    Task* t = Task::Current();
    if (t == nullptr) return abi::Errno::kENOENT;
    base::Ref<UtsNamespace> u = t->uts_ns();
    base::MutexLock lock(u->mu);
    return (domain ? u->domainname : u->nodename) + "\n";
  };
  kern->AddFile("hostname", 0444, [uts] { return uts(false); });
  kern->AddFile("domainname", 0444, [uts] { return uts(true); });
  kern->AddText("ostype", "Linux\n");
  kern->AddText("osrelease", std::string(kKernelRelease) + "\n");
  kern->AddText("version", std::string(kKernelVersion) + "\n");
  kern->AddText("pid_max", "4194304\n");
  kern->AddText("threads-max", "65536\n");
  kern->AddText("cap_last_cap", "40\n");
  kern->AddText("ngroups_max", "65536\n");
  kern->AddText("overflowuid", "65534\n");
  kern->AddText("overflowgid", "65534\n");
  kern->AddText("randomize_va_space", "2\n");
  kern->AddText("core_pattern", "core\n");
  kern->AddText("core_uses_pid", "0\n");
  kern->AddText("tainted", "0\n");
  kern->AddText("panic", "0\n");
  kern->AddText("sem", "32000\t1024000000\t500\t32000\n");
  kern->AddText("shmmax", "18446744073692774399\n");
  kern->AddText("shmall", "18446744073692774399\n");
  kern->AddText("shmmni", "4096\n");
  kern->AddText("msgmax", "8192\n");
  kern->AddText("msgmnb", "16384\n");
  kern->AddText("msgmni", "32000\n");
  kern->AddText("sched_rr_timeslice_ms", "100\n");
  kern->AddText("printk", "4\t4\t1\t7\n");
  kern->AddText("kptr_restrict", "1\n");
  kern->AddText("perf_event_paranoid", "4\n");
  kern->AddText("dmesg_restrict", "1\n");
  kern->AddText("unprivileged_bpf_disabled", "2\n");
  base::Ref<SynthStaticDir> random = kern->AddDir("random");
  random->AddFile("uuid", 0444, []() -> base::Result<std::string> { return RandomUuid(); });
  random->AddText("boot_id", RandomUuid());
  random->AddText("entropy_avail", "256\n");
  random->AddText("poolsize", "256\n");
  kern->AddDir("keys")->AddText("maxkeys", "200\n");
  base::Ref<SynthStaticDir> pty = kern->AddDir("pty");
  pty->AddText("max", "4096\n");
  pty->AddText("reserve", "1024\n");
  fs->AddText("file-max", "9223372036854775807\n");
  fs->AddText("nr_open", "1048576\n");
  fs->AddText("file-nr", "0\t0\t9223372036854775807\n");
  fs->AddText("pipe-max-size", "1048576\n");
  fs->AddText("pipe-user-pages-soft", "16384\n");
  fs->AddText("pipe-user-pages-hard", "0\n");
  AddNumber(*fs, "protected_hardlinks", Vfs::protected_hardlinks, 1);
  AddNumber(*fs, "protected_symlinks", Vfs::protected_symlinks, 1);
  AddNumber(*fs, "protected_fifos", Vfs::protected_fifos, 2);
  AddNumber(*fs, "protected_regular", Vfs::protected_regular, 2);
  fs->AddText("suid_dumpable", "0\n");
  fs->AddText("lease-break-time", "45\n");
  fs->AddText("aio-max-nr", "65536\n");
  fs->AddText("aio-nr", "0\n");
  base::Ref<SynthStaticDir> inotify = fs->AddDir("inotify");
  inotify->AddText("max_queued_events", "16384\n");
  inotify->AddText("max_user_instances", "128\n");
  inotify->AddText("max_user_watches", "65536\n");
  base::Ref<SynthStaticDir> epoll = fs->AddDir("epoll");
  epoll->AddText("max_user_watches", "1048576\n");
  base::Ref<SynthStaticDir> mqueue = fs->AddDir("mqueue");
  mqueue->AddText("msg_max", "10\n");
  mqueue->AddText("msgsize_max", "8192\n");
  mqueue->AddText("msg_default", "10\n");
  mqueue->AddText("msgsize_default", "8192\n");
  mqueue->AddText("queues_max", "256\n");
  vm->AddText("overcommit_memory", "0\n");
  vm->AddText("overcommit_ratio", "50\n");
  vm->AddText("overcommit_kbytes", "0\n");
  vm->AddText("max_map_count", "65530\n");
  vm->AddText("mmap_min_addr", "458752\n");  // the lowest that an engine offers
  vm->AddText("swappiness", "60\n");
  vm->AddText("nr_hugepages", "0\n");
  vm->AddText("legacy_va_layout", "0\n");
  net->AddDir("unix")->AddText("max_dgram_qlen", "512\n");
}

}  // namespace proc
}  // namespace sentry
