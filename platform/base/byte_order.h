// Network byte order: htons(3) and its kin, for units that include no other header of the host's.
#pragma once

#include <arpa/inet.h>
