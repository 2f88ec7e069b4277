/* The mailbox: a struct in RAM through which the host, over SWD, tells the firmware what to do.
 *
 * The host halts the core at its reset vector, fills the mailbox, and resumes. The firmware obeys
 * and stops at the BKPT `mcuq_stopped`; the host sees the core halted, reads the mailbox, and may
 * fill it again and resume behind the BKPT. Nothing else passes between the two: no UART, no
 * semihosting, no interrupt that could disturb the timing.
 *
 * All fields are little-endian uint32. The host's twin of this file is mcuq_lab/bench/mailbox.py.
 */
#ifndef MCUQ_MAILBOX_H
#define MCUQ_MAILBOX_H

#include <stdint.h>

#define MCUQ_MAGIC   0x5143554DU /* "MCUQ" as bytes in memory */
#define MCUQ_VERSION 1U

/* What the host asks for (`command`). */
#define MCUQ_COMMAND_RUN     1U /* `count` inferences, whole: outputs and exact cycles of each     */
#define MCUQ_COMMAND_PROFILE 2U /* one inference layer by layer: cycles of each layer              */
#define MCUQ_COMMAND_CHECK   3U /* checksum of the image in flash                                  */

#define MCUQ_CHECKSUM_FACTOR 0x9E3779B1U

/* What the firmware answers (`status`). */
#define MCUQ_STATUS_NEW     0U /* written by the host together with the command                  */
#define MCUQ_STATUS_DONE    1U
#define MCUQ_STATUS_REFUSED 2U /* magic, version or command unknown: host and image do not match */
#define MCUQ_STATUS_FAULT   3U /* the core took a fault; the fault fields are valid              */

struct mcuq_mailbox {
    /* Written by the host. */
    uint32_t magic;
    uint32_t version;
    uint32_t command;
    uint32_t count;           /* inferences, >= 1; PROFILE takes 1                                */
    uint32_t inputs;          /* address of `count` inputs, dense; 0: the one input lies in its
                                 arena slot already, and the host has painted the arena           */
    uint32_t outputs;         /* address for `count` outputs, dense; 0: leave it in its slot      */
    uint32_t cycles;          /* address for cycle counts: `count` (RUN), one a layer (PROFILE)   */
    /* Written by the firmware (the host presets `status`). */
    uint32_t status;
    uint32_t arena_touched_bytes; /* highest byte of the arena written, + 1; > arena: overrun     */
    uint32_t stack_bytes;         /* deepest use of the stack, from its top                       */
    uint32_t overhead_cycles;     /* of timing nothing; already subtracted from all counts        */
    uint32_t checksum[2];         /* CHECK: low and high word of sum over words w of
                                     w * MCUQ_CHECKSUM_FACTOR^(words behind it), modulo 2^64      */
    /* Valid with MCUQ_STATUS_FAULT: Armv7-M ARM B3.2.15 to B3.2.18, and the stacked frame. */
    uint32_t cfsr;
    uint32_t hfsr;
    uint32_t mmfar;
    uint32_t bfar;
    uint32_t sp;              /* when the fault was taken                                         */
    uint32_t pc;              /* stacked pc, lr and xpsr; 0 when `sp` had left the stack          */
    uint32_t lr;
    uint32_t xpsr;
};

#endif
