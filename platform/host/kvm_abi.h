// <linux/kvm.h>, with the sizes that the host's kernel means. In C++ the flexible arrays of older
// headers make their structures larger (an empty struct has a size there), and with them the
// numbers of the requests; newer headers define the macro as here.
#pragma once

#include <linux/stddef.h>

#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(type, name) type name[0]

#include <linux/kvm.h>

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_msrs) == 8 && sizeof(kvm_signal_mask) == 4);
