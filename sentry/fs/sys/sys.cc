#include "sentry/fs/sys/sys.h"

namespace sentry {
namespace {

std::string CpuList(int cpus) { return cpus == 1 ? "0\n" : "0-" + std::to_string(cpus - 1) + "\n"; }

void AddCpus(SynthStaticDir& cpu, int cpus) {
  const std::string list = CpuList(cpus);
  cpu.AddText("online", list);
  cpu.AddText("possible", list);
  cpu.AddText("present", list);
  cpu.AddText("offline", "\n");
  cpu.AddText("isolated", "\n");
  cpu.AddText("kernel_max", "8191\n");
  for (int i = 0; i < cpus; i++) {
    base::Ref<SynthStaticDir> one = cpu.AddDir("cpu" + std::to_string(i));
    if (i > 0) one->AddText("online", "1\n");
    base::Ref<SynthStaticDir> topology = one->AddDir("topology");
    topology->AddText("core_id", std::to_string(i) + "\n");
    topology->AddText("physical_package_id", "0\n");
    topology->AddText("thread_siblings_list", std::to_string(i) + "\n");
    topology->AddText("core_siblings_list", list);
    topology->AddText("core_cpus_list", std::to_string(i) + "\n");
    topology->AddText("package_cpus_list", list);
  }
}

}  // namespace

base::Ref<Inode> NewSysFs(Kernel& kernel, const Container& container, AddNetDirectories add_net) {
  const int cpus = container.cpu_count;
  auto sb = base::MakeRef<SynthSuperblock>("sysfs", 0x62656572, true);
  auto root = base::MakeRef<SynthStaticDir>(sb, 0755, 1);
  for (const char* name : {"block", "bus", "firmware", "hypervisor", "module", "power"})
    root->AddDir(name, 0755);
  root->AddDir("fs", 0755)->AddDir("cgroup", 0755);
  base::Ref<SynthStaticDir> devices = root->AddDir("devices", 0755);
  base::Ref<SynthStaticDir> system = devices->AddDir("system", 0755);
  AddCpus(*system->AddDir("cpu", 0755), cpus);
  base::Ref<SynthStaticDir> node = system->AddDir("node", 0755);
  for (const char* name : {"online", "possible", "has_cpu", "has_memory", "has_normal_memory"})
    node->AddText(name, "0\n");
  base::Ref<SynthStaticDir> node0 = node->AddDir("node0", 0755);
  node0->AddText("cpulist", CpuList(cpus));
  node0->AddText("distance", "10\n");
  base::Ref<SynthStaticDir> dev = root->AddDir("dev", 0755);
  dev->AddDir("block", 0755);
  dev->AddDir("char", 0755);
  base::Ref<SynthStaticDir> cls = root->AddDir("class", 0755);
  for (const char* name : {"block", "mem", "misc", "tty"}) cls->AddDir(name, 0755);
  if (add_net != nullptr) {
    add_net(kernel, *cls, *devices->AddDir("virtual", 0755));
  } else {
    cls->AddDir("net", 0755);
  }
  base::Ref<SynthStaticDir> kern = root->AddDir("kernel", 0755);
  kern->AddText("profiling", "0\n");
  base::Ref<SynthStaticDir> mm = kern->AddDir("mm", 0755);
  base::Ref<SynthStaticDir> thp = mm->AddDir("transparent_hugepage", 0755);
  thp->AddText("enabled", "always [madvise] never\n");
  thp->AddText("defrag", "always defer defer+madvise [madvise] never\n");
  thp->AddText("shmem_enabled", "always within_size [advise] never deny force\n");
  thp->AddText("hpage_pmd_size", "2097152\n");
  thp->AddText("use_zero_page", "1\n");
  mm->AddDir("hugepages", 0755);
  return root;
}

}  // namespace sentry
