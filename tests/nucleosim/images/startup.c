/* Vector table, reset, and handlers that an image may replace. */
#include "startup.h"

extern uint32_t stack_top;

volatile uint32_t fault_record[12];

USED void record_fault(const uint32_t *frame, uint32_t exception) {
  fault_record[0] = exception;
  fault_record[1] = CFSR;
  fault_record[2] = HFSR;
  fault_record[3] = BFAR;
  for (int i = 0; i < 8; i++) fault_record[4 + i] = frame[i];
  BKPT();
  for (;;) { }
}

__attribute__((naked, weak)) void Fault_Handler(void) {
  __asm volatile(
      "tst lr, #4\n"
      "ite eq\n"
      "mrseq r0, msp\n"
      "mrsne r0, psp\n"
      "mrs r1, ipsr\n"
      "b record_fault\n");
}

__attribute__((weak)) void SVC_Handler(void) { Fault_Handler(); }
__attribute__((weak)) void PendSV_Handler(void) { Fault_Handler(); }

USED void Reset_Handler(void) {
  fault_record[0] = 0;
  main();
  BKPT();
  for (;;) { }
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void)) & stack_top, Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
    Fault_Handler, Fault_Handler, 0, 0, 0, 0, SVC_Handler, 0, 0, PendSV_Handler, 0,
};
