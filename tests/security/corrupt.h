// A guest that overwrites its stub's memory while it works.
#pragma once

namespace security {

// In a guest: waves of processes that do it, beside one that must not notice. Says how many of them
// died of it; 0 when all was well with the others.
int Corrupt(unsigned seed);

}  // namespace security
