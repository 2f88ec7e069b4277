/* For the test images. An image defines main() and, if it likes, handlers (see startup.c).
 * No data is initialised: every variable is to be set by the code or by the debugger. */
#pragma once
#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(address))
#define DEMCR REG(0xE000EDFC)
#define DWT_CTRL REG(0xE0001000)
#define DWT_CYCCNT REG(0xE0001004)
#define SHCSR REG(0xE000ED24)
#define CFSR REG(0xE000ED28)
#define HFSR REG(0xE000ED2C)
#define BFAR REG(0xE000ED38)
#define CPACR REG(0xE000ED88)
#define ICSR REG(0xE000ED04)
#define AIRCR REG(0xE000ED0C)

#define BKPT() __asm volatile("bkpt 0")
#define USED __attribute__((used, noinline))

int main(void);

/* What a fault handler saw: exception number, CFSR, HFSR, BFAR, and the stacked words. */
extern volatile uint32_t fault_record[12];
