// time.h of the system headers and of syscalls/abi must agree; this file produces no code.
#include <linux/time.h>
#include <linux/time_types.h>
#include <linux/timerfd.h>
#include <linux/times.h>
#include <linux/timex.h>
#include <linux/utime.h>

#include "syscalls/abi/time.h"
#include "syscalls/abi/verify.h"

SAME(CLOCK_MONOTONIC_COARSE);
SAME(CLOCK_REALTIME);
SAME(CLOCK_BOOTTIME_ALARM);
SAME(CLOCK_REALTIME_COARSE);
SAME(CLOCK_REALTIME_ALARM);
SAME(CLOCK_SGI_CYCLE);
SAME(CLOCK_THREAD_CPUTIME_ID);
SAME(CLOCK_MONOTONIC_RAW);
SAME(CLOCK_TAI);
SAME(CLOCK_MONOTONIC);
SAME(CLOCK_BOOTTIME);
SAME(CLOCK_PROCESS_CPUTIME_ID);
SAME(ITIMER_REAL);
SAME(ITIMER_VIRTUAL);
SAME(ITIMER_PROF);
SAME(TIMER_ABSTIME);
SAME(TFD_TIMER_ABSTIME);
SAME(TFD_TIMER_CANCEL_ON_SET);
SAME(TFD_CLOEXEC);
SAME(TFD_NONBLOCK);
SAME(ADJ_OFFSET);
SAME(ADJ_FREQUENCY);
SAME(ADJ_MAXERROR);
SAME(ADJ_ESTERROR);
SAME(ADJ_STATUS);
SAME(ADJ_TIMECONST);
SAME(ADJ_TAI);
SAME(ADJ_SETOFFSET);
SAME(ADJ_MICRO);
SAME(ADJ_NANO);
SAME(ADJ_TICK);
SAME(ADJ_OFFSET_SINGLESHOT);
SAME(ADJ_OFFSET_SS_READ);
SAME(STA_PLL);
SAME(STA_UNSYNC);
SAME(STA_NANO);
SAME(TIME_OK);
SAME(TIME_INS);
SAME(TIME_DEL);
SAME(TIME_OOP);
SAME(TIME_WAIT);
SAME(TIME_ERROR);
#ifdef CLOCK_INVALID
SAME(CLOCK_INVALID);
#endif
SIZE(Timespec, struct __kernel_timespec);
SIZE(Timex, struct __kernel_timex);
FIELD(Timex, time, struct __kernel_timex, time);
FIELD(Timex, tai, struct __kernel_timex, tai);
SIZE(Itimerspec, struct __kernel_itimerspec);
SIZE(Tms, struct tms);
SIZE(Utimbuf, struct utimbuf);
