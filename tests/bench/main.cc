#include <benchmark/benchmark.h>

#include "platform/host/safe_copy.h"

int main(int argc, char** argv) {
  host::InstallFaultHandler();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
